// The sums of splits added up in their order, with bias and activation: one thread for a few
// columns of a row, four where they are aligned.
#include "wgmma_plan.h"
#include "wgmma_store.h"

namespace figment::cuda::wgmma {
namespace {

constexpr int kThreads = 256;

template <int width>
FIGMENT_KERNEL(kThreads)
reduceKernel(Global<const float> partials, const Work work, int64_t columns) {
  const Results& results = work.results;
  const int64_t pieces = columns / width, rows = int64_t(work.batch) * work.rows;
  const int64_t splitStride = rows * columns;
  for (int64_t e = threadInGrid(); e < rows * pieces; e += threadsOfGrid()) {
    const int64_t row = e / pieces, column = (e - row * pieces) * width;
    const int batch = int(row / work.rows), inBatch = int(row - int64_t(batch) * work.rows);
    const Place place = {0, 0, batch, 0};
    if (inBatch >= phaseOf(work, place).rows) continue;
    float sums[width] = {};
    for (int split = 0; split < work.splits; split++) {
      const int64_t at = split * splitStride + row * columns + column;
      if constexpr (width == 4) {
        const float4 more = partials.load<float4>(at);
        sums[0] += more.x;
        sums[1] += more.y;
        sums[2] += more.z;
        sums[3] += more.w;
      } else {
        sums[0] += partials[at];
      }
    }
    const int64_t at = rowOffset(work, place, inBatch) + column;
    FIGMENT_UNROLL
    for (int i = 0; i < width; i++) {
      if (work.biased) sums[i] += work.bias[column + i];
      sums[i] = activatedFast(sums[i], work.activation);
    }
    if (results.format == Format::f32) {
      auto* out = static_cast<float*>(results.data) + at;
      if constexpr (width == 4)
        *reinterpret_cast<float4*>(out) = make_float4(sums[0], sums[1], sums[2], sums[3]);
      else
        out[0] = sums[0];
    } else {
      auto* out = static_cast<uint16_t*>(results.data) + at;
      if constexpr (width == 4)
        *reinterpret_cast<uint2*>(out) = make_uint2(packed(results.format, sums[0], sums[1]),
                                                    packed(results.format, sums[2], sums[3]));
      else
        out[0] = uint16_t(packed(results.format, sums[0], 0.0f));
    }
  }
}

}  // namespace

void launchReduction(Launcher& launcher, const Work& work, const float* partials, int64_t columns) {
  const int64_t rows = int64_t(work.batch) * work.rows;
  const Global<const float> from(partials, work.splits * rows * columns);
  if (work.results.wide)
    launch<reduceKernel<4>>(launcher, gridFor(launcher, rows * columns / 4, kThreads), kThreads, 0,
                            from, work, columns);
  else
    launch<reduceKernel<1>>(launcher, gridFor(launcher, rows * columns, kThreads), kThreads, 0,
                            from, work, columns);
}

}  // namespace figment::cuda::wgmma
