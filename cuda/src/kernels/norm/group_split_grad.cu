// Gradients of groupNorm and batchNorm in four kernels: sums over slabs of pixels for each channel,
// their totals for each sample, from those the sums of groups and the gradients of gamma and beta,
// then dx. Those of batchNorm are the totals themselves. Formulas: plain_grad.cu.
#include "../../device/columns.h"
#include "../../device/functions.h"
#include "affine.h"
#include "group_split_grad.h"

namespace figment::cuda {
namespace {

struct GradSplit {
  NormBackward<float> call;
  Columns columns;
  Global<float> partial;  ///< [2, n, slabs, c]: Σ du, Σ du·x̂
  Global<float> channel;  ///< [2, n, c]
  Global<float> group;  ///< [2, n, groups]: Σ γ·du and Σ γ·du·x̂, over the group's elements

  /// Whether sums of channels are those of groups and of all samples, as in batchNormGrad.
  FIGMENT_BOTH bool single() const { return call.shape.n == 1 && call.shape.width() == 1; }
};

/// What each channel of a block is normalised with, in shared memory.
struct ChannelFactors {
  Shared<float> mean, rstd, gamma, beta;

  template <class Dynamic>
  FIGMENT_DEVICE ChannelFactors(const Dynamic& dynamic, int channels)
      : mean(dynamic.template view<float>(0, channels)),
        rstd(dynamic.template view<float>(channels * 4, channels)),
        gamma(dynamic.template view<float>(channels * 8, channels)),
        beta(dynamic.template view<float>(channels * 12, channels)) {}
  /// Calls f(i, channel, group) besides, for each channel of the block.
  template <class F>
  FIGMENT_DEVICE void fill(const GradSplit& k, const ColumnPlace& place, F&& f) const {
    const NormBackward<float>& call = k.call;
    const int channels = k.columns.channels();
    for (int i = int(threadIdx.x); i < channels; i += kColumnThreads) {
      const int64_t ch = place.chunk * channels + i;
      if (ch >= call.shape.c) break;
      const int64_t of = place.sample * call.shape.groups + ch / call.shape.width();
      const float second = call.second[of];
      mean[i] = call.mean[of];
      rstd[i] = call.spread == Spread::variance ? 1.0f / sqrtf(second + call.eps) : second;
      gamma[i] = call.gamma[ch];
      beta[i] = call.beta[ch];
      f(i, ch, of);
    }
    __syncthreads();
  }
};

/// A thread's channels out of ChannelFactors.
template <int N>
struct HeldFactors {
  float mean[N], rstd[N], gamma[N], beta[N];

  FIGMENT_DEVICE HeldFactors(const ChannelFactors& all, int first) {
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) {
      mean[j] = all.mean[first + j];
      rstd[j] = all.rstd[first + j];
      gamma[j] = all.gamma[first + j];
      beta[j] = all.beta[first + j];
    }
  }
};

/// Rows of which loads are under way at once.
constexpr int kRows = 4;

/// Calls f(row, x̂, du) with the normalised values and the cotangents before the activation, of this
/// thread's rows and channels.
template <int N, class F>
FIGMENT_DEVICE void eachRow(const GradSplit& k, const ColumnPlace& place,
                            const HeldFactors<N>& held, F&& f) {
  const NormBackward<float>& call = k.call;
  const int64_t step = k.columns.down;
  for (int64_t row = place.firstRow; row < place.lastRow; row += kRows * step) {
    Raw<N> rawX[kRows], rawDy[kRows];
    FIGMENT_UNROLL
    for (int r = 0; r < kRows; r++) {
      if (row + r * step >= place.lastRow) continue;
      rawX[r] = loadRaw<N>(call.x, place.at(k.columns, row + r * step));
      rawDy[r] = loadRaw<N>(call.dy, place.at(k.columns, row + r * step));
    }
    FIGMENT_UNROLL
    for (int r = 0; r < kRows; r++) {
      if (row + r * step >= place.lastRow) continue;
      float x[N], d[N];
      widenRaw<N>(rawX[r], call.x.format, x);
      widenRaw<N>(rawDy[r], call.dy.format, d);
      float u[N];
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) {
        x[j] = (x[j] - held.mean[j]) * held.rstd[j];
        u[j] = held.gamma[j] * x[j] + held.beta[j];
      }
      call.activation.applySlopes(u, d);
      f(row + r * step, x, d);
    }
  }
}

template <int N>
FIGMENT_KERNEL(kColumnThreads)
sumsKernel(GradSplit k) {
  FIGMENT_DYNAMIC_SHARED(dynamic);
  FIGMENT_SHARED(float, shared, kColumnThreads* N);
  const int64_t block = blockInGrid();
  if (block >= k.columns.n * k.columns.slabs * k.columns.chunks) return;
  const ColumnPlace place(k.columns, block);
  const ChannelFactors factors(dynamic, k.columns.channels());
  factors.fill(k, place, [](int, int64_t, int64_t) {});
  float plain[N], scaled[N];
  FIGMENT_UNROLL
  for (int j = 0; j < N; j++) plain[j] = scaled[j] = 0;
  if (place.active) {
    const HeldFactors<N> held(factors, place.localChannel);
    eachRow<N>(k, place, held, [&](int64_t, const float(&x)[N], const float(&d)[N]) {
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) {
        plain[j] += d[j];
        scaled[j] += d[j] * x[j];
      }
    });
  }
  const int64_t slabs = k.columns.slabs, c = k.columns.c, n = k.columns.n;
  const int64_t to = (place.sample * slabs + place.slab) * c;
  sumDown<N>(k.columns, place, shared, plain,
             [&](int64_t channel, float sum) { k.partial[to + channel] = sum; });
  sumDown<N>(k.columns, place, shared, scaled,
             [&](int64_t channel, float sum) { k.partial[n * slabs * c + to + channel] = sum; });
}

constexpr int kTotalColumns = 32, kTotalLanes = 8, kTotalThreads = kTotalColumns * kTotalLanes;

/// The first blocks add up groups, a warp for each; the others samples, for gamma and beta.
FIGMENT_KERNEL(kTotalThreads) totalsKernel(GradSplit k, int64_t groupBlocks) {
  FIGMENT_SHARED(float, shared, 2 * kTotalThreads);
  const NormShape& shape = k.call.shape;
  const int64_t block = blockInGrid(), n = shape.n, c = shape.c;
  if (block < groupBlocks) {
    const int64_t task = block * (kTotalThreads / kWarp) + warpInBlock();
    if (task >= n * shape.groups) return;
    const int64_t sample = task / shape.groups, width = shape.width();
    float sum = 0, dot = 0;
    for (int64_t i = laneInWarp(); i < width; i += kWarp) {
      const int64_t ch = task % shape.groups * width + i;
      const float gamma = k.call.gamma[ch];
      sum += gamma * k.channel[sample * c + ch];
      dot += gamma * k.channel[(n + sample) * c + ch];
    }
    sum = warpSum(sum);
    dot = warpSum(dot);
    if (laneInWarp() > 0) return;
    k.group[task] = sum;
    k.group[n * shape.groups + task] = dot;
    return;
  }
  const int t = int(threadIdx.x), lane = t / kTotalColumns;
  const int64_t ch = (block - groupBlocks) * kTotalColumns + t % kTotalColumns;
  float plain = 0, scaled = 0;
  if (ch < c) {
    for (int64_t sample = lane; sample < n; sample += kTotalLanes) {
      plain += k.channel[sample * c + ch];
      scaled += k.channel[(n + sample) * c + ch];
    }
  }
  shared[t] = plain;
  shared[kTotalThreads + t] = scaled;
  __syncthreads();
  if (lane > 0 || ch >= c) return;
  for (int other = 1; other < kTotalLanes; other++) {
    plain += shared[other * kTotalColumns + t];
    scaled += shared[kTotalThreads + other * kTotalColumns + t];
  }
  k.call.dbeta.set(ch, plain);
  k.call.dgamma.set(ch, scaled);
}

template <int N>
FIGMENT_KERNEL(kColumnThreads)
applyKernel(GradSplit k) {
  FIGMENT_DYNAMIC_SHARED(dynamic);
  const int channels = k.columns.channels();
  const auto common = dynamic.view<float>(channels * 16, channels);
  const auto along = dynamic.view<float>(channels * 20, channels);
  const int64_t blocks = k.columns.n * k.columns.slabs * k.columns.chunks, block = blockInGrid();
  if (block >= blocks) return;
  const ColumnPlace place(k.columns, blocks - 1 - block);
  const ChannelFactors factors(dynamic, channels);
  const NormShape& shape = k.call.shape;
  const float inverse = 1.0f / float(shape.count());
  factors.fill(k, place, [&](int i, int64_t ch, int64_t of) {
    if (k.single()) {
      const float plain = k.channel[ch], scaled = k.channel[shape.c + ch];
      common[i] = factors.gamma[i] * plain * inverse;
      along[i] = factors.gamma[i] * scaled * inverse;
      if (place.slab > 0) return;
      k.call.dbeta.set(ch, plain);
      k.call.dgamma.set(ch, scaled);
    } else {
      common[i] = k.group[of] * inverse;
      along[i] = k.group[shape.n * shape.groups + of] * inverse;
    }
  });
  if (!place.active) return;
  const HeldFactors<N> held(factors, place.localChannel);
  float level[N], slope[N];
  FIGMENT_UNROLL
  for (int j = 0; j < N; j++) {
    level[j] = common[place.localChannel + j];
    slope[j] = along[place.localChannel + j];
  }
  eachRow<N>(k, place, held, [&](int64_t row, float(&x)[N], float(&d)[N]) {
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++)
      d[j] = held.rstd[j] * (held.gamma[j] * d[j] - level[j] - x[j] * slope[j]);
    storeFloats<N>(k.call.dx, place.at(k.columns, row), d);
  });
}

Columns columnsOf(const NormShape& shape, int vector) {
  return Columns(shape.n, shape.spatial, shape.c, vector, 16);
}
int64_t floats(const NormShape& shape, int64_t slabs) {
  return 2 * shape.n * (slabs * shape.c + shape.c + shape.groups);
}

template <NormBackward<float> (*kBackward)(const OpCall&)>
size_t scratch(const OpCall& call, int) {
  const NormShape shape = kBackward(call).shape;
  // Addresses decide on vectors, and are not known yet.
  int64_t most = 0;
  for (int vector : {1, 4, 8}) {
    if (shape.c % vector != 0) continue;
    const int64_t slabs = columnsOf(shape, vector).slabs;
    if (slabs > most) most = slabs;
  }
  return size_t(floats(shape, most)) * sizeof(float);
}

/// dy is the last input.
template <NormBackward<float> (*kBackward)(const OpCall&)>
void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const NormBackward<float> backward = kBackward(call);
  const NormShape& shape = backward.shape;
  const Columns columns = columnsOf(
      shape, vectorElements(shape.c, {&call.in[0], &call.in[call.inCount - 1], &call.out[0]}));
  const int64_t n = shape.n, c = shape.c, partials = 2 * n * columns.slabs * c;
  const GradSplit k = {
      backward, columns, scratchView<float>(launcher, 0, partials),
      scratchView<float>(launcher, partials * 4, 2 * n * c),
      scratchView<float>(launcher, (partials + 2 * n * c) * 4, 2 * n * shape.groups)};
  const int64_t groupBlocks = ceilDiv(n * shape.groups, int64_t(kTotalThreads / kWarp));
  withVectors(columns.vector, [&]<int N>() {
    const size_t bytes = size_t(columns.channels()) * sizeof(float);
    launch<sumsKernel<N>>(launcher, columns.grid(), kColumnThreads, bytes * 4, k);
    sumPartials<float>(launcher, 2 * n, columns.slabs, c, k.partial,
                       scratchResults(launcher, partials * 4, 2 * n * c));
    if (!k.single())
      launch<totalsKernel>(launcher, blocksFor(groupBlocks + ceilDiv(c, int64_t(kTotalColumns))),
                           kTotalThreads, 0, k, groupBlocks);
    launch<applyKernel<N>>(launcher, columns.grid(), kColumnThreads, bytes * 6, k);
  });
}

}  // namespace

size_t splitGroupNormGradScratch(const OpCall& call, int threads) {
  return scratch<groupNormGradOf<float>>(call, threads);
}
void splitGroupNormGrad(const OpCall& call, Context& context) {
  run<groupNormGradOf<float>>(call, context);
}
size_t splitBatchNormGradScratch(const OpCall& call, int threads) {
  return scratch<batchNormGradOf<float>>(call, threads);
}
void splitBatchNormGrad(const OpCall& call, Context& context) {
  run<batchNormGradOf<float>>(call, context);
}

namespace {

const RegisterVariant group{{.op = "groupNormGrad",
                             .name = "split",
                             .isa = Isa::sm75,
                             .supports = supportsFloats,
                             .scratch = splitGroupNormGradScratch,
                             .run = splitGroupNormGrad}};
const RegisterVariant batch{{.op = "batchNormGrad",
                             .name = "split",
                             .isa = Isa::sm75,
                             .supports = supportsFloats,
                             .scratch = splitBatchNormGradScratch,
                             .run = splitBatchNormGrad}};

}  // namespace
}  // namespace figment::cuda
