// scatterAddAlong with a block for each line along the axis: the positions of its indices in the
// order (index, position), of which the thread at the first of equal ones sums their updates, in
// their order.
#include "../../device/launch.h"
#include "../indexing/indices.h"
#include "../sort/keys.h"
#include "kernels/params/scatterAddAlong.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;
/// Indices of a line that a block sorts, in 32 KiB.
constexpr int64_t kBlockKeys = 4096;
/// Below this the plain kernel looks through all indices in less time than sorting takes.
constexpr int64_t kFewest = 32;

FIGMENT_KERNEL(kThreads)
linesKernel(Global<const float> updates, Global<const int32_t> indices, Global<float> y,
            ScatterAddAlongParams p, int size) {
  FIGMENT_DYNAMIC_SHARED(shared);
  const auto keys = shared.view<uint64_t>(0, size);
  for (int64_t line = blockIdx.x; line < p.outer * p.inner; line += gridDim.x) {
    const int64_t outer = line / p.inner, inner = line % p.inner;
    const int64_t from = outer * p.count * p.inner + inner, to = outer * p.axis * p.inner + inner;
    for (int i = int(threadIdx.x); i < size; i += kThreads) {
      const int32_t index = i < p.count ? indices[from + i * p.inner] : -1;
      keys[i] = index >= 0 && index < p.axis ? uint64_t(index) << 32 | uint64_t(i) : kNoKey;
    }
    for (int64_t a = threadIdx.x; a < p.axis; a += kThreads) y[to + a * p.inner] = 0;
    __syncthreads();
    bitonicSort(keys, size);
    for (int i = int(threadIdx.x); i < p.count; i += kThreads) {
      const uint64_t key = keys[i];
      if (key == kNoKey || (i > 0 && uint64_t(keys[i - 1]) >> 32 == key >> 32)) continue;
      float sum = 0;
      for (int j = i; j < p.count; j++) {
        const uint64_t other = keys[j];
        if (other >> 32 != key >> 32) break;
        sum += updates[from + positionOf(other) * p.inner];
      }
      y[to + int64_t(key >> 32) * p.inner] = sum;
    }
    __syncthreads();
  }
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const auto& p = call.as<ScatterAddAlongParams>();
  if (call.out[0].empty()) return;
  checkIndices(call, launcher, call.in[0].elements(), p.axis);
  int size = 2;
  while (size < p.count) size *= 2;
  const int64_t lines = p.outer * p.inner, most = int64_t(launcher.multiprocessors()) * 8;
  launch<linesKernel>(launcher, {lines < most ? lines : most}, kThreads,
                      size_t(size) * sizeof(uint64_t), viewOf<const float>(call.in[0]),
                      viewOf<const int32_t>(call.in[1]), viewOf<float>(call.out[0]), p, size);
}

int supports(const OpCall& call) {
  const auto& p = call.as<ScatterAddAlongParams>();
  const bool fits = p.count >= kFewest && p.count <= kBlockKeys;
  return fits && call.out[0].format == Format::f32 ? 20 : -1;
}

const RegisterVariant registrar{{.op = "scatterAddAlong",
                                 .name = "sorted",
                                 .isa = Isa::sm75,
                                 .supports = supports,
                                 .scratch = nullptr,
                                 .run = run}};

}  // namespace
}  // namespace figment::cuda
