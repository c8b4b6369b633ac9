// Faults of memory: outside of arrays, off alignment, more than there is.
#include "cases.h"

namespace figment::cuda::cases {
namespace {

constexpr int kThreads = 64;

/// y[i] = x[i + offset].
FIGMENT_KERNEL(kThreads) shiftKernel(Global<const float> x, Global<float> y, int offset) {
  y[threadIdx.x] = x[int(threadIdx.x) + offset];
}

FIGMENT_FAULT(globalReadPastEnd, memcheck) {
  const auto x = bench.numbers<float>(kThreads), y = bench.numbers<float>(kThreads);
  launch<shiftKernel>(bench.launcher(), {}, kThreads, 0, Global<const float>(x), y, 1);
}
FIGMENT_FAULT(globalReadBeforeBegin, memcheck) {
  const auto x = bench.numbers<float>(kThreads), y = bench.numbers<float>(kThreads);
  launch<shiftKernel>(bench.launcher(), {}, kThreads, 0, Global<const float>(x), y, -1);
}
FIGMENT_CORRECT(globalReadToEnd, memcheck) {
  const auto x = bench.numbers<float>(kThreads + 1), y = bench.numbers<float>(kThreads);
  launch<shiftKernel>(bench.launcher(), {}, kThreads, 0, Global<const float>(x), y, 1);
  bench.expect(y, kThreads, [](int64_t i) { return i + 2; });
}

FIGMENT_KERNEL(kThreads) writeKernel(Global<float> y, int offset) {
  y[int(threadIdx.x) + offset] = 1.0f;
}

FIGMENT_FAULT(globalWritePastEnd, memcheck) {
  launch<writeKernel>(bench.launcher(), {}, kThreads, 0, bench.numbers<float>(kThreads), 1);
}

FIGMENT_KERNEL(kThreads) vectorKernel(Global<const float> x, Global<float> y, int offset) {
  y.store<float4>(4 * int(threadIdx.x), x.load<float4>(4 * int(threadIdx.x) + offset));
}

FIGMENT_FAULT(globalVectorOffAlignment, memcheck) {
  const auto x = bench.numbers<float>(4 * kThreads + 4), y = bench.numbers<float>(4 * kThreads);
  launch<vectorKernel>(bench.launcher(), {}, kThreads, 0, Global<const float>(x), y, 1);
}
FIGMENT_FAULT(globalVectorPastEnd, memcheck) {
  // x last: what follows it is no other array's memory, where the hardware's tool lets reads pass.
  const auto y = bench.numbers<float>(4 * kThreads), x = bench.numbers<float>(4 * kThreads);
  launch<vectorKernel>(bench.launcher(), {}, kThreads, 0, Global<const float>(x), y, 4);
}
FIGMENT_CORRECT(globalVectorOnAlignment, memcheck) {
  const auto x = bench.numbers<float>(4 * kThreads + 4), y = bench.numbers<float>(4 * kThreads);
  launch<vectorKernel>(bench.launcher(), {}, kThreads, 0, Global<const float>(x), y, 4);
  bench.expect(y, 4 * kThreads, [](int64_t i) { return i + 5; });
}

FIGMENT_KERNEL(kThreads) sharedKernel(Global<float> y, int offset) {
  FIGMENT_SHARED(float, tile, kThreads);
  tile[int(threadIdx.x)] = y[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = tile[int(threadIdx.x) + offset];
}

FIGMENT_FAULT(sharedReadPastEnd, memcheck) {
  // Far enough to leave what the device rounds a block's memory up to.
  launch<sharedKernel>(bench.launcher(), {}, kThreads, 0, bench.numbers<float>(kThreads), 1 << 16);
}
FIGMENT_STRICT_FAULT(sharedReadOnePastEnd, memcheck) {
  launch<sharedKernel>(bench.launcher(), {}, kThreads, 0, bench.numbers<float>(kThreads), 1);
}

FIGMENT_KERNEL(kThreads) sharedVectorKernel(Global<float> y, int offset) {
  FIGMENT_SHARED(float, tile, 4 * kThreads + 4);
  for (int i = int(threadIdx.x); i < 4 * kThreads + 4; i += kThreads) tile[i] = float(i);
  __syncthreads();
  // All four numbers, or the compiler loads one.
  const auto [a, b, c, d] = tile.load<float4>(4 * int(threadIdx.x) + offset);
  y[threadIdx.x] = (b - a) * (d - c) * b;
}

FIGMENT_FAULT(sharedVectorOffAlignment, memcheck) {
  launch<sharedVectorKernel>(bench.launcher(), {}, kThreads, 0, bench.numbers<float>(kThreads), 2);
}
FIGMENT_CORRECT(sharedVectorOnAlignment, memcheck) {
  const auto y = bench.numbers<float>(kThreads);
  launch<sharedVectorKernel>(bench.launcher(), {}, kThreads, 0, y, 4);
  bench.expect(y, kThreads, [](int64_t i) { return 4 * i + 5; });
}

FIGMENT_KERNEL(kThreads) dynamicKernel(Global<float> y, int count) {
  FIGMENT_DYNAMIC_SHARED(shared);
  const auto tile = shared.view<float>(0, count);
  for (int i = int(threadIdx.x); i < count; i += kThreads) tile[i] = float(i);
  __syncthreads();
  y[threadIdx.x] = tile[count - 1 - int(threadIdx.x)];
}

FIGMENT_FAULT(dynamicSharedPastLaunch, memcheck) {
  launch<dynamicKernel>(bench.launcher(), {}, kThreads, 1024, bench.numbers<float>(kThreads),
                        1 << 16);
}
FIGMENT_CORRECT(dynamicSharedOfLaunch, memcheck) {
  const auto y = bench.numbers<float>(kThreads);
  launch<dynamicKernel>(bench.launcher(), {}, kThreads, 60 * 1024, y, 15 * 1024);
  bench.expect(y, kThreads, [](int64_t i) { return 15 * 1024 - 1 - i; });
}
FIGMENT_FAULT(tooMuchDynamicShared, launch) {
  launch<dynamicKernel>(bench.launcher(), {}, kThreads, 228 * 1024, bench.numbers<float>(kThreads),
                        64);
}

/// Besides the launch's: an array of 16 KiB.
FIGMENT_KERNEL(kThreads) bothKernel(Global<float> y) {
  FIGMENT_SHARED(float, declared, 4096);
  FIGMENT_DYNAMIC_SHARED(shared);
  const auto tile = shared.view<float>(0, kThreads);
  declared[int(threadIdx.x)] = tile[int(threadIdx.x)] = y[threadIdx.x];
  y[threadIdx.x] = declared[int(threadIdx.x)] + tile[int(threadIdx.x)];
}

FIGMENT_FAULT(tooMuchSharedTogether, launch) {
  launch<bothKernel>(bench.launcher(), {}, kThreads, 220 * 1024, bench.numbers<float>(kThreads));
}
FIGMENT_CORRECT(declaredAndDynamicShared, memcheck) {
  const auto y = bench.numbers<float>(kThreads);
  launch<bothKernel>(bench.launcher(), {}, kThreads, 1024, y);
  bench.expect(y, kThreads, [](int64_t i) { return 2 * (i + 1); });
}

#ifdef FIGMENT_EMULATED
// The device's compiler refuses these two, or gives them another stack.
FIGMENT_KERNEL(kThreads) declaredKernel(Global<float> y) {
  FIGMENT_SHARED(float, declared, 12 * 1024 + 4);
  declared[int(threadIdx.x)] = y[threadIdx.x];
}
FIGMENT_FAULT(tooMuchDeclaredShared, launch) {
  launch<declaredKernel>(bench.launcher(), {}, kThreads, 0, bench.numbers<float>(kThreads));
}
#endif

}  // namespace
}  // namespace figment::cuda::cases
