// The sums of splits added up in their order, with scale, bias, activation and addend: one thread
// for a few columns of a row, four where they are aligned.
#include "wgmma_plan.h"
#include "wgmma_store.h"

namespace figment::cuda::wgmma {
namespace {

constexpr int kThreads = 128;
constexpr int kAtOnce = 16;  ///< loads of a thread that are under way together

/// Of a split, or zeros where there is none.
template <int width>
FIGMENT_DEVICE void load(float (&x)[width], const Global<const float>& from, int split, int splits,
                         int64_t stride) {
  if constexpr (width == 4) {
    const float4 four =
        split < splits ? from.load<float4>(split * stride) : make_float4(0, 0, 0, 0);
    x[0] = four.x;
    x[1] = four.y;
    x[2] = four.z;
    x[3] = four.w;
  } else {
    x[0] = split < splits ? from[split * stride] : 0.0f;
  }
}

template <int width>
FIGMENT_DEVICE void add(float (&x)[width], const Floats<float>& addend, int64_t at) {
  if constexpr (width == 4) {
    const float4 four = addend.four(at);
    x[0] += four.x;
    x[1] += four.y;
    x[2] += four.z;
    x[3] += four.w;
  } else {
    x[0] += addend[at];
  }
}

FIGMENT_DEVICE uint32_t packed(Format format, float low, float high) {
  return withNans(format, packedNumbers(format, low, high), low, high);
}

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
    const Global<const float> from = partials.from(row * columns + column);
    for (int split = 0; split < work.splits; split += kAtOnce) {
      float more[kAtOnce][width];
      FIGMENT_UNROLL
      for (int i = 0; i < kAtOnce; i++) load(more[i], from, i + split, work.splits, splitStride);
      FIGMENT_UNROLL
      for (int i = 0; i < kAtOnce; i++) {
        FIGMENT_UNROLL
        for (int j = 0; j < width; j++) sums[j] += more[i][j];
      }
    }
    const int64_t at = rowOffset(work, place, inBatch) + column;
    FIGMENT_UNROLL
    for (int i = 0; i < width; i++) {
      sums[i] = activatedFast(work.shifted(sums[i], column + i), work.activation);
    }
    if (work.added) add(sums, work.addend, at);
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
