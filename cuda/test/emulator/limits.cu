// What is no fault of one access: a stack that overflows, and grids of many blocks.
#include "cases.h"
#include "device/warp.h"

namespace figment::cuda::cases {
namespace {

constexpr int kThreads = 256;

#ifdef FIGMENT_EMULATED
[[gnu::noinline]] float deeper(volatile float* above, int depth) {
  volatile float frame[4096];
  for (int i = 0; i < 4096; i++) frame[i] = above ? above[i] + 1 : 0;
  return depth == 0 ? frame[7] : deeper(frame, depth - 1) + frame[9];
}
FIGMENT_KERNEL(32) overflowKernel(Global<float> y) { y[threadIdx.x] = deeper(nullptr, 100); }
#endif

/// As small kernels of reductions are: a few barriers, a little shared memory.
FIGMENT_KERNEL(kThreads) blocksKernel(Global<const float> x, Global<float> y) {
  const float sum = blockSum<kThreads>(x[threadIdx.x]);
  if (threadIdx.x == 0 && blockIdx.x == 0) y[0] = sum;
}

}  // namespace

void overflowStack(Bench& bench) {
#ifdef FIGMENT_EMULATED
  launch<overflowKernel>(bench.launcher(), {}, 32, 0, bench.numbers<float>(32));
#else
  (void)bench;
#endif
}

void runBlocks(Bench& bench, int64_t blocks) {
  const auto x = bench.numbers<float>(kThreads), y = bench.numbers<float>(1);
  launch<blocksKernel>(bench.launcher(), {blocks}, kThreads, 0, Global<const float>(x), y);
  bench.expect(y, 1, [](int64_t) { return kThreads * (kThreads + 1) / 2; });
}

}  // namespace figment::cuda::cases
