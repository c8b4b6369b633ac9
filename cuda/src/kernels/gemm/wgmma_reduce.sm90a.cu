// The sums of splits added up, with scale, bias, activation and addend: a result is a few columns
// of a row, four where they are aligned.
#include "split_shares.h"
#include "wgmma_plan.h"
#include "wgmma_store.h"

namespace figment::cuda::wgmma {
namespace {

template <int width>
FIGMENT_DEVICE void load(float (&x)[width], const Global<const float>& from, int64_t at) {
  if constexpr (width == 4) {
    const float4 four = from.load<float4>(at);
    x[0] = four.x;
    x[1] = four.y;
    x[2] = four.z;
    x[3] = four.w;
  } else {
    x[0] = from[at];
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
FIGMENT_KERNEL(SplitShares::kThreads)
reduceKernel(Global<const float> partials, const Work work, SplitShares shares, int64_t columns) {
  FIGMENT_SHARED(float, shared, SplitShares::kThreads* width);
  const Results& results = work.results;
  const int64_t pieces = columns / width, rows = int64_t(work.batch) * work.rows;
  const int64_t e = shares.result(), row = e / pieces, column = (e - row * pieces) * width;
  const int batch = int(row / work.rows), inBatch = int(row - int64_t(batch) * work.rows);
  const Place place = {0, 0, batch, 0};
  const bool there = row < rows && inBatch < phaseOf(work, place).rows;
  const auto from = partials.from(row * columns + column);
  const int64_t stride = rows * columns;
  float sums[width];
  const bool first =
      shares.sum(sums, there ? work.splits : 0, shared,
                 [&](int split, float(&more)[width]) { load(more, from, split * stride); });
  if (!there || !first) return;
  const int64_t at = rowOffset(work, place, inBatch) + column;
  FIGMENT_UNROLL
  for (int i = 0; i < width; i++)
    sums[i] = activatedFast(work.shifted(sums[i], column + i), work.activation);
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

}  // namespace

void launchReduction(Launcher& launcher, const Work& work, const float* partials, int64_t columns) {
  const int64_t rows = int64_t(work.batch) * work.rows;
  const Global<const float> from(partials, work.splits * rows * columns);
  const int64_t all = rows * columns / (work.results.wide ? 4 : 1);
  const SplitShares shares(all, work.splits);
  if (work.results.wide)
    launch<reduceKernel<4>>(launcher, shares.grid(all), SplitShares::kThreads, 0, from, work,
                            shares, columns);
  else
    launch<reduceKernel<1>>(launcher, shares.grid(all), SplitShares::kThreads, 0, from, work,
                            shares, columns);
}

}  // namespace figment::cuda::wgmma
