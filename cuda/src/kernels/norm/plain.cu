// groupNorm, layerNorm and batchNorm, one block for each group: the mean, then the variance about
// it, then y. The mean of what is left after taking the first mean away corrects its rounding, so
// that a large mean costs no precision.
#include "../../device/functions.h"
#include "../../device/warp.h"
#include "affine.h"
#include "plain.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

template <class W>
FIGMENT_KERNEL(kThreads)
normKernel(NormForward<W> k) {
  const auto [n, spatial, c, groups] = k.shape;
  const int64_t task = blockInGrid();
  if (task >= n * groups) return;
  const int64_t width = k.shape.width(), count = k.shape.count();
  const int64_t firstChannel = task % groups * width;
  const int64_t base = task / groups * spatial * c + firstChannel;
  const auto at = [&](int64_t e) { return base + e / width * c + e % width; };
  const W size = W(count > 0 ? count : 1);

  W sum = 0;
  for (int64_t e = threadIdx.x; e < count; e += kThreads) sum += k.x[at(e)];
  const W center = blockSum<kThreads>(sum) / size;
  W left = 0, squares = 0;
  for (int64_t e = threadIdx.x; e < count; e += kThreads) {
    const W d = k.x[at(e)] - center;
    left += d;
    squares += d * d;
  }
  const W shift = blockSum<kThreads>(left) / size;
  const W variance = blockSum<kThreads>(squares) / size - shift * shift;
  const W rstd = W(1) / squareRoot(variance + k.eps);
  if (threadIdx.x == 0) k.setMoments(task, center + shift, variance, rstd);
  for (int64_t e = threadIdx.x; e < count; e += kThreads) {
    const int64_t channel = firstChannel + e % width;
    W u[] = {(k.x[at(e)] - center - shift) * rstd * k.gamma[channel] + k.beta[channel]};
    k.activation.apply(u);
    k.y.set(at(e), u[0]);
  }
}

template <NormForward<float> (*kSingle)(const OpCall&),
          NormForward<double> (*kDouble)(const OpCall&)>
void run(const OpCall& call, Context& context) {
  const auto start = [&]<class W>(const NormForward<W>& k) {
    launch<normKernel<W>>(launcherOf(context), blocksFor(k.shape.n * k.shape.groups), kThreads, 0,
                          k);
  };
  if (call.in[0].format == Format::f64)
    start(kDouble(call));
  else
    start(kSingle(call));
}

/// rmsNorm: no mean is taken away.
template <class W>
FIGMENT_KERNEL(kThreads)
rmsKernel(int64_t rows, int64_t cols, W eps, Floats<W> x, Floats<W> gamma, FloatResults<W> y,
          FloatResults<W> rrms) {
  const int64_t row = blockInGrid();
  if (row >= rows) return;
  W squares = 0;
  for (int64_t i = threadIdx.x; i < cols; i += kThreads) {
    const W value = x[row * cols + i];
    squares += value * value;
  }
  const W scale = W(1) / squareRoot(blockSum<kThreads>(squares) / W(cols > 0 ? cols : 1) + eps);
  if (threadIdx.x == 0) rrms.set(row, scale);
  for (int64_t i = threadIdx.x; i < cols; i += kThreads)
    y.set(row * cols + i, x[row * cols + i] * scale * gamma[i]);
}

template <class W>
void runRms(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<RmsNormParams>();
  launch<rmsKernel<W>>(launcher, blocksFor(p.rows), kThreads, 0, p.rows, p.cols, W(p.eps),
                       floatsOf<W>(call.in[0]), floatsOf<W>(call.in[1]), resultsOf<W>(call.out[0]),
                       resultsOf<W>(call.out[1]));
}

}  // namespace

void plainGroupNorm(const OpCall& call, Context& context) {
  run<groupNormOf<float>, groupNormOf<double>>(call, context);
}
void plainLayerNorm(const OpCall& call, Context& context) {
  run<layerNormOf<float>, layerNormOf<double>>(call, context);
}
void plainBatchNorm(const OpCall& call, Context& context) {
  run<batchNormOf<float>, batchNormOf<double>>(call, context);
}
void plainRmsNorm(const OpCall& call, Context& context) {
  byWidth<runRms<float>, runRms<double>>(call, context);
}

namespace {
const RegisterVariant group{plainVariant("groupNorm", plainGroupNorm)};
const RegisterVariant layer{plainVariant("layerNorm", plainLayerNorm)};
const RegisterVariant batch{plainVariant("batchNorm", plainBatchNorm)};
const RegisterVariant rms{plainVariant("rmsNorm", plainRmsNorm)};
}  // namespace

}  // namespace figment::cuda
