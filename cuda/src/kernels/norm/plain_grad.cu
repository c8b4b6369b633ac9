// Gradients of the normalisations: first the sums over samples and pixels for gamma and beta, one
// block for each channel, because dx may take dy's place; then dx, one block for each group. With
// x̂ = (x − mean)·rstd and du the cotangent of γ·x̂ + β, over the M elements of a group:
//   dx = rstd·(γ·du − Σ(γ·du)/M − x̂·Σ(γ·du·x̂)/M)
#include "../../device/functions.h"
#include "../../device/warp.h"
#include "affine.h"
#include "plain.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

template <class W>
FIGMENT_DEVICE W scaleOf(const NormBackward<W>& k, int64_t group) {
  const W second = k.second[group];
  return k.spread == Spread::rstd ? second : W(1) / squareRoot(second + k.eps);
}
/// The cotangent before the activation.
template <class W>
FIGMENT_DEVICE W before(const NormBackward<W>& k, int64_t i, int64_t channel, W normalised) {
  W d[] = {k.dy[i]};
  if (k.activation.kind != kLinearAct) {
    const W u[] = {k.gamma[channel] * normalised + k.beta[channel]};
    k.activation.applySlopes(u, d);
  }
  return d[0];
}

template <class W>
FIGMENT_KERNEL(kThreads)
channelKernel(NormBackward<W> k) {
  const auto [n, spatial, c, groups] = k.shape;
  const int64_t channel = blockInGrid();
  if (channel >= c) return;
  W scaled = 0, plain = 0;
  for (int64_t e = threadIdx.x; e < n * spatial; e += kThreads) {
    const int64_t group = e / spatial * groups + channel / k.shape.width(), i = e * c + channel;
    const W normalised = (k.x[i] - k.mean[group]) * scaleOf(k, group);
    const W d = before(k, i, channel, normalised);
    plain += d;
    scaled += d * normalised;
  }
  scaled = blockSum<kThreads>(scaled);
  plain = blockSum<kThreads>(plain);
  if (threadIdx.x == 0) {
    k.dgamma.set(channel, scaled);
    k.dbeta.set(channel, plain);
  }
}

template <class W>
FIGMENT_KERNEL(kThreads)
groupKernel(NormBackward<W> k) {
  const auto [n, spatial, c, groups] = k.shape;
  const int64_t task = blockInGrid();
  if (task >= n * groups) return;
  const int64_t width = k.shape.width(), count = k.shape.count();
  const int64_t firstChannel = task % groups * width;
  const int64_t base = task / groups * spatial * c + firstChannel;
  const auto at = [&](int64_t e) { return base + e / width * c + e % width; };
  const W mean = k.mean[task], scale = scaleOf(k, task);
  W sum = 0, dot = 0;
  for (int64_t e = threadIdx.x; e < count; e += kThreads) {
    const int64_t channel = firstChannel + e % width;
    const W normalised = (k.x[at(e)] - mean) * scale;
    const W d = before(k, at(e), channel, normalised) * k.gamma[channel];
    sum += d;
    dot += d * normalised;
  }
  const W common = blockSum<kThreads>(sum) / W(count), along = blockSum<kThreads>(dot) / W(count);
  for (int64_t e = threadIdx.x; e < count; e += kThreads) {
    const int64_t channel = firstChannel + e % width;
    const W normalised = (k.x[at(e)] - mean) * scale;
    const W d = before(k, at(e), channel, normalised) * k.gamma[channel];
    k.dx.set(at(e), scale * (d - common - normalised * along));
  }
}

template <NormBackward<float> (*kSingle)(const OpCall&),
          NormBackward<double> (*kDouble)(const OpCall&)>
void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const auto start = [&]<class W>(const NormBackward<W>& k) {
    launch<channelKernel<W>>(launcher, blocksFor(k.shape.c), kThreads, 0, k);
    if (call.in[0].empty()) return;
    launch<groupKernel<W>>(launcher, blocksFor(k.shape.n * k.shape.groups), kThreads, 0, k);
  };
  if (call.in[0].format == Format::f64)
    start(kDouble(call));
  else
    start(kSingle(call));
}

template <class W>
struct RmsBackward {
  int64_t rows, cols;
  Floats<W> x, gamma, rrms, dy;
  FloatResults<W> dx, dgamma;
};

template <class W>
FIGMENT_KERNEL(kThreads)
rmsColumnKernel(RmsBackward<W> k) {
  const int64_t column = blockInGrid();
  if (column >= k.cols) return;
  W sum = 0;
  for (int64_t row = threadIdx.x; row < k.rows; row += kThreads) {
    const int64_t i = row * k.cols + column;
    sum += k.dy[i] * (k.x[i] * k.rrms[row]);
  }
  sum = blockSum<kThreads>(sum);
  if (threadIdx.x == 0) k.dgamma.set(column, sum);
}

template <class W>
FIGMENT_KERNEL(kThreads)
rmsRowKernel(RmsBackward<W> k) {
  const int64_t row = blockInGrid();
  if (row >= k.rows) return;
  const W scale = k.rrms[row];
  W dot = 0;
  for (int64_t j = threadIdx.x; j < k.cols; j += kThreads) {
    const int64_t i = row * k.cols + j;
    dot += k.gamma[j] * k.dy[i] * (k.x[i] * scale);
  }
  const W along = blockSum<kThreads>(dot) / W(k.cols);
  for (int64_t j = threadIdx.x; j < k.cols; j += kThreads) {
    const int64_t i = row * k.cols + j;
    k.dx.set(i, scale * (k.gamma[j] * k.dy[i] - k.x[i] * scale * along));
  }
}

template <class W>
void runRms(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<RmsNormGradParams>();
  const RmsBackward<W> k = {p.rows,
                            p.cols,
                            floatsOf<W>(call.in[0]),
                            floatsOf<W>(call.in[1]),
                            floatsOf<W>(call.in[2]),
                            floatsOf<W>(call.in[3]),
                            resultsOf<W>(call.out[0]),
                            resultsOf<W>(call.out[1])};
  launch<rmsColumnKernel<W>>(launcher, blocksFor(p.cols), kThreads, 0, k);
  if (p.cols > 0) launch<rmsRowKernel<W>>(launcher, blocksFor(p.rows), kThreads, 0, k);
}

}  // namespace

void plainGroupNormGrad(const OpCall& call, Context& context) {
  run<groupNormGradOf<float>, groupNormGradOf<double>>(call, context);
}
void plainLayerNormGrad(const OpCall& call, Context& context) {
  run<layerNormGradOf<float>, layerNormGradOf<double>>(call, context);
}
void plainBatchNormGrad(const OpCall& call, Context& context) {
  run<batchNormGradOf<float>, batchNormGradOf<double>>(call, context);
}
void plainRmsNormGrad(const OpCall& call, Context& context) {
  byWidth<runRms<float>, runRms<double>>(call, context);
}

namespace {
const RegisterVariant group{plainVariant("groupNormGrad", plainGroupNormGrad)};
const RegisterVariant layer{plainVariant("layerNormGrad", plainLayerNormGrad)};
const RegisterVariant batch{plainVariant("batchNormGrad", plainBatchNormGrad)};
const RegisterVariant rms{plainVariant("rmsNormGrad", plainRmsNormGrad)};
}  // namespace

}  // namespace figment::cuda
