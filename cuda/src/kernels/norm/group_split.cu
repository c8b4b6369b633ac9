// groupNorm and batchNorm in three kernels: moments of each channel in slabs of pixels, moments of
// each group from those, then y. x is read twice; where it fits the L2 cache, once from memory, and
// the last kernel begins where the first one ended.
//
// Moments are taken of what exceeds the channel's first pixel, in chunks of rows that are held in
// registers and merged by Chan, Golub & LeVeque (1979), so that a large mean costs no precision;
// the mean keeps a second part that f32 has no room for.
#include "../../device/columns.h"
#include "../../device/functions.h"
#include "affine.h"
#include "group_split.h"

namespace figment::cuda {
namespace {

/// Rows that are in registers at once.
template <int N>
constexpr int kHeld = 4;

struct GroupSplit {
  NormForward<float> call;
  Columns columns;
  Global<float> mean, squares;  ///< [n, slabs, c]
  Global<float> rest;           ///< [n, groups]: what the means lack
};

template <int N>
FIGMENT_KERNEL(kColumnThreads)
momentsKernel(GroupSplit k) {
  FIGMENT_SHARED(float, means, kColumnThreads* N);
  FIGMENT_SHARED(float, spreads, kColumnThreads* N);
  const int64_t block = blockInGrid();
  if (block >= k.columns.n * k.columns.slabs * k.columns.chunks) return;
  const ColumnPlace place(k.columns, block);
  const Format format = k.call.x.format;
  float first[N], mean[N], squares[N];
  FIGMENT_UNROLL
  for (int j = 0; j < N; j++) first[j] = mean[j] = squares[j] = 0;
  float count = 0;
  if (place.active) {
    constexpr int kRows = kHeld<N>;
    loadFloats<N>(k.call.x, place.at(k.columns, 0), first);
    const int64_t step = k.columns.down;
    for (int64_t row = place.firstRow; row < place.lastRow; row += kRows * step) {
      Raw<N> raw[kRows];
      float values[kRows][N];
      int held = 0;
      FIGMENT_UNROLL
      for (int r = 0; r < kRows; r++) {
        if (row + r * step >= place.lastRow) continue;
        raw[r] = loadRaw<N>(k.call.x, place.at(k.columns, row + r * step));
        held++;
      }
      FIGMENT_UNROLL
      for (int r = 0; r < kRows; r++)
        if (r < held) widenRaw<N>(raw[r], format, values[r]);
      const float total = count + float(held), inverse = 1.0f / float(held);
      const float share = float(held) / total, spread = count * share;
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) {
        float sum = 0, about = 0;
        FIGMENT_UNROLL
        for (int r = 0; r < kRows; r++)
          if (r < held) sum += values[r][j] - first[j];
        const float center = sum * inverse;
        FIGMENT_UNROLL
        for (int r = 0; r < kRows; r++) {
          const float d = values[r][j] - first[j] - center;
          if (r < held) about += d * d;
        }
        const float d = center - mean[j];
        squares[j] += about + d * d * spread;
        mean[j] += d * share;
      }
      count = total;
    }
  }
  // Rows of threads, channel by channel. Their counts follow from the shape.
  const int t = int(threadIdx.x), across = k.columns.across, down = k.columns.down;
  FIGMENT_UNROLL
  for (int j = 0; j < N; j++) {
    means[j * kColumnThreads + t] = mean[j];
    spreads[j * kColumnThreads + t] = squares[j];
  }
  __syncthreads();
  const int slabRows = int(place.lastRow - place.slab * k.columns.slabRows);
  const int each = slabRows / down, longer = slabRows % down;  // the first have a row more
  const float inverse = 1.0f / float(slabRows);
  for (int i = t; i < across * N; i += kColumnThreads) {
    const int64_t channel = place.chunk * k.columns.channels() + i % across * N + i / across;
    if (channel >= k.columns.c) continue;
    const int from = i / across * kColumnThreads + i % across;
    const auto countOf = [&](int row) { return float(row < longer ? each + 1 : each); };
    float sum = 0, about = 0;
    FIGMENT_UNROLL_BY(4)
    for (int row = 0; row < down; row++) sum += countOf(row) * means[from + row * across];
    const float center = sum * inverse;
    FIGMENT_UNROLL_BY(4)
    for (int row = 0; row < down; row++) {
      const float d = means[from + row * across] - center;
      about += spreads[from + row * across] + countOf(row) * d * d;
    }
    const int64_t to = (place.sample * k.columns.slabs + place.slab) * k.columns.c + channel;
    k.mean[to] = center;
    k.squares[to] = about;
  }
}

constexpr int kMergeThreads = 128;

/// One warp for each group: the mean of its slabs and channels, then what they spread about it.
FIGMENT_KERNEL(kMergeThreads) groupKernel(GroupSplit k) {
  const NormShape& shape = k.call.shape;
  const int64_t task = blockInGrid() * (kMergeThreads / kWarp) + warpInBlock();
  if (task >= shape.n * shape.groups) return;
  const int64_t sample = task / shape.groups, width = shape.width();
  const int64_t channel = task % shape.groups * width;
  const int64_t slabs = k.columns.slabs, c = shape.c;
  const int64_t rows = k.columns.slabRows, lastRows = shape.spatial - (slabs - 1) * rows;
  const float origin = k.call.x[sample * shape.spatial * c + channel];
  const float inverse = 1.0f / float(shape.count());
  const auto at = [&](int64_t i) { return (sample * slabs + i / width) * c + channel + i % width; };
  const auto count = [&](int64_t i) { return float(i / width == slabs - 1 ? lastRows : rows); };
  /// A slab's mean of a channel, less the origin.
  const auto meanAt = [&](int64_t i) {
    return k.call.x[sample * shape.spatial * c + channel + i % width] - origin + k.mean[at(i)];
  };
  float sum = 0, squares = 0;
  for (int64_t i = laneInWarp(); i < slabs * width; i += kWarp) sum += count(i) * meanAt(i);
  const float above = warpSum(sum) * inverse;
  for (int64_t i = laneInWarp(); i < slabs * width; i += kWarp) {
    const float d = meanAt(i) - above;
    squares += k.squares[at(i)] + count(i) * d * d;
  }
  const float variance = warpSum(squares) * inverse;
  if (laneInWarp() > 0) return;
  const float mean = origin + above;
  k.call.setMoments(task, mean, variance, 1.0f / sqrtf(variance + k.call.eps));
  k.rest[task] = above - (mean - origin);
}

template <int N>
FIGMENT_KERNEL(kColumnThreads)
applyKernel(GroupSplit k) {
  FIGMENT_DYNAMIC_SHARED(dynamic);
  const int channels = k.columns.channels();
  const auto center = dynamic.view<float>(0, channels);
  const auto scale = dynamic.view<float>(channels * 4, channels);
  const auto shift = dynamic.view<float>(channels * 8, channels);
  const int64_t blocks = k.columns.n * k.columns.slabs * k.columns.chunks, block = blockInGrid();
  if (block >= blocks) return;
  const ColumnPlace place(k.columns, blocks - 1 - block);
  const NormForward<float>& call = k.call;
  for (int i = int(threadIdx.x); i < channels; i += kColumnThreads) {
    const int64_t channel = place.chunk * channels + i;
    if (channel >= call.shape.c) break;
    const int64_t group = place.sample * call.shape.groups + channel / call.shape.width();
    const float second = call.second.template as<float>()[group];
    const float rstd = call.spread == Spread::variance ? 1.0f / sqrtf(second + call.eps) : second;
    const float factor = rstd * call.gamma[channel];
    center[i] = call.mean.template as<float>()[group];
    scale[i] = factor;
    shift[i] = call.beta[channel] - k.rest[group] * factor;
  }
  __syncthreads();
  if (!place.active) return;
  float mean[N], factor[N], term[N];
  FIGMENT_UNROLL
  for (int j = 0; j < N; j++) {
    mean[j] = center[place.localChannel + j];
    factor[j] = scale[place.localChannel + j];
    term[j] = shift[place.localChannel + j];
  }
  constexpr int kRows = 4;
  const int64_t step = k.columns.down;
  for (int64_t row = place.firstRow; row < place.lastRow; row += kRows * step) {
    Raw<N> raw[kRows];
    FIGMENT_UNROLL
    for (int r = 0; r < kRows; r++)
      if (row + r * step < place.lastRow)
        raw[r] = loadRaw<N>(call.x, place.at(k.columns, row + r * step));
    FIGMENT_UNROLL
    for (int r = 0; r < kRows; r++) {
      if (row + r * step >= place.lastRow) continue;
      float values[N];
      widenRaw<N>(raw[r], call.x.format, values);
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) values[j] = (values[j] - mean[j]) * factor[j] + term[j];
      call.activation.apply(values);
      storeFloats<N>(call.y, place.at(k.columns, row + r * step), values);
    }
  }
}

Columns columnsOf(const OpCall& call, const NormShape& shape) {
  return Columns(shape.n, shape.spatial, shape.c,
                 vectorElements(shape.c, {&call.in[0], &call.out[0]}), 16);
}

template <NormForward<float> (*kForward)(const OpCall&)>
size_t scratch(const OpCall& call, int) {
  const NormShape shape = kForward(call).shape;
  // Addresses decide on vectors, and are not known yet.
  int64_t most = 0;
  for (int vector : {1, 4, 8}) {
    if (shape.c % vector != 0) continue;
    const int64_t slabs = Columns(shape.n, shape.spatial, shape.c, vector, 16).slabs;
    if (slabs > most) most = slabs;
  }
  return size_t(shape.n * (2 * most * shape.c + shape.groups)) * sizeof(float);
}

template <NormForward<float> (*kForward)(const OpCall&)>
void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const NormForward<float> forward = kForward(call);
  const NormShape& shape = forward.shape;
  const Columns columns = columnsOf(call, shape);
  const int64_t partials = shape.n * columns.slabs * shape.c;
  const GroupSplit k = {forward, columns, scratchView<float>(launcher, 0, partials),
                        scratchView<float>(launcher, partials * 4, partials),
                        scratchView<float>(launcher, partials * 8, shape.n * shape.groups)};
  withVectors(columns.vector, [&]<int N>() {
    launch<momentsKernel<N>>(launcher, columns.grid(), kColumnThreads, 0, k);
    launch<groupKernel>(launcher,
                        blocksFor(ceilDiv(shape.n * shape.groups, int64_t(kMergeThreads / kWarp))),
                        kMergeThreads, 0, k);
    launch<applyKernel<N>>(launcher, columns.grid(), kColumnThreads,
                           size_t(columns.channels()) * 12, k);
  });
}

}  // namespace

size_t splitGroupNormScratch(const OpCall& call, int threads) {
  return scratch<groupNormOf<float>>(call, threads);
}
void splitGroupNorm(const OpCall& call, Context& context) {
  run<groupNormOf<float>>(call, context);
}
size_t splitBatchNormScratch(const OpCall& call, int threads) {
  return scratch<batchNormOf<float>>(call, threads);
}
void splitBatchNorm(const OpCall& call, Context& context) {
  run<batchNormOf<float>>(call, context);
}

namespace {

const RegisterVariant group{{.op = "groupNorm",
                             .name = "split",
                             .isa = Isa::sm75,
                             .supports = supportsFloats,
                             .scratch = splitGroupNormScratch,
                             .run = splitGroupNorm}};
const RegisterVariant batch{{.op = "batchNorm",
                             .name = "split",
                             .isa = Isa::sm75,
                             .supports = supportsFloats,
                             .scratch = splitBatchNormScratch,
                             .run = splitBatchNorm}};

}  // namespace
}  // namespace figment::cuda
