// adam, emaUpdate and sumSquares: one tensor after another, arithmetic in f64 as in the reference
// on the CPU (native/src/kernels/optimizer, which has the formulas).
#include "../../device/launch.h"
#include "../../device/warp.h"
#include "../plain.h"
#include "kernels/params/adam.generated.h"
#include "kernels/params/emaUpdate.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
struct AdamTensor {
  Global<const T> weight, grad, mean, square, average;
  Global<T> newWeight, newMean, newSquare, newAverage;
  int64_t count;
};

template <class T>
FIGMENT_KERNEL(kThreads)
adamKernel(AdamParams p, Global<const T> rate, Global<const T> steps, Global<const T> scale,
           Global<const T> decays, AdamTensor<T> t) {
  const double lr = double(rate[0]), step = double(steps[0]), gradScale = double(scale[0]);
  const double decay = p.averaged ? double(decays[0]) : 0;
  const double stepSize = lr / (1 - pow(p.beta1, step));
  const double rootCorrection = sqrt(1 - pow(p.beta2, step));
  for (int64_t i = threadInGrid(); i < t.count; i += threadsOfGrid()) {
    double weight = double(t.weight[i]);
    double grad = double(t.grad[i]) * gradScale;
    if (p.decoupled)
      weight -= lr * p.weightDecay * weight;
    else
      grad += p.weightDecay * weight;
    const double mean = p.beta1 * double(t.mean[i]) + (1 - p.beta1) * grad;
    const double square = p.beta2 * double(t.square[i]) + (1 - p.beta2) * grad * grad;
    const T newWeight = T(weight - stepSize * mean / (sqrt(square) / rootCorrection + p.eps));
    t.newWeight[i] = newWeight;
    t.newMean[i] = T(mean);
    t.newSquare[i] = T(square);
    if (p.averaged)
      t.newAverage[i] = T(decay * double(t.average[i]) + (1 - decay) * double(newWeight));
  }
}

template <class T>
FIGMENT_KERNEL(kThreads)
emaKernel(Global<const T> rate, Global<const T> target, Global<const T> source, Global<T> out,
          int64_t count) {
  const double decay = double(rate[0]);
  for (int64_t i = threadInGrid(); i < count; i += threadsOfGrid())
    out[i] = T(decay * double(target[i]) + (1 - decay) * double(source[i]));
}

/// Adds the squares of one tensor to `sum`, by one block.
template <class T>
FIGMENT_KERNEL(kThreads)
addSquaresKernel(Global<const T> x, int64_t count, Global<double> sum) {
  double own = 0;
  for (int64_t i = threadIdx.x; i < count; i += kThreads) own += double(x[i]) * double(x[i]);
  const double total = blockSum<kThreads>(own);
  if (threadIdx.x == 0) sum[0] += total;
}

template <class T>
FIGMENT_KERNEL(kWarp)
storeSumKernel(Global<const double> sum, Global<T> out) {
  if (threadIdx.x == 0) out[0] = T(sum[0]);
}

template <class T>
void runAdam(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<AdamParams>();
  const Operand *weights = call.in + 3 + p.averaged, *grads = weights + p.count,
                *means = grads + p.count, *squares = means + p.count, *averages = squares + p.count;
  for (int32_t t = 0; t < p.count; t++) {
    const AdamTensor<T> tensor = {viewOf<const T>(weights[t]),
                                  viewOf<const T>(grads[t]),
                                  viewOf<const T>(means[t]),
                                  viewOf<const T>(squares[t]),
                                  p.averaged ? viewOf<const T>(averages[t]) : Global<const T>{},
                                  viewOf<T>(call.out[t]),
                                  viewOf<T>(call.out[p.count + t]),
                                  viewOf<T>(call.out[2 * p.count + t]),
                                  p.averaged ? viewOf<T>(call.out[3 * p.count + t]) : Global<T>{},
                                  weights[t].elements()};
    launch<adamKernel<T>>(launcher, gridFor(launcher, tensor.count, kThreads), kThreads, 0, p,
                          viewOf<const T>(call.in[0]), viewOf<const T>(call.in[1]),
                          viewOf<const T>(call.in[2]),
                          p.averaged ? viewOf<const T>(call.in[3]) : Global<const T>{}, tensor);
  }
}

template <class T>
void runEma(const OpCall& call, Launcher& launcher) {
  const int32_t count = call.as<EmaUpdateParams>().count;
  for (int32_t t = 0; t < count; t++) {
    const int64_t elements = call.out[t].elements();
    launch<emaKernel<T>>(launcher, gridFor(launcher, elements, kThreads), kThreads, 0,
                         viewOf<const T>(call.in[0]), viewOf<const T>(call.in[1 + t]),
                         viewOf<const T>(call.in[1 + count + t]), viewOf<T>(call.out[t]), elements);
  }
}

template <class T>
void runSumSquares(const OpCall& call, Launcher& launcher) {
  const auto sum = scratchView<double>(launcher, 0, 1);
  launcher.fill(launcher.scratch(), 0, sizeof(double));
  for (int t = 0; t < call.inCount; t++)
    launch<addSquaresKernel<T>>(launcher, {}, kThreads, 0, viewOf<const T>(call.in[t]),
                                call.in[t].elements(), sum);
  launch<storeSumKernel<T>>(launcher, {}, kWarp, 0, sum, viewOf<T>(call.out[0]));
}

/// A call without results is one without work.
template <void (*kSingle)(const OpCall&, Launcher&), void (*kDouble)(const OpCall&, Launcher&)>
void byFloat(const OpCall& call, Context& context) {
  const bool wide = call.outCount > 0 && call.out[0].format == Format::f64;
  (wide ? kDouble : kSingle)(call, launcherOf(context));
}

const RegisterVariant adam{plainVariant("adam", byFloat<runAdam<float>, runAdam<double>>)};
const RegisterVariant ema{plainVariant("emaUpdate", byFloat<runEma<float>, runEma<double>>)};
const RegisterVariant sumSquares{plainVariant("sumSquares",
                                              byFloat<runSumSquares<float>, runSumSquares<double>>,
                                              [](const OpCall&, int) { return sizeof(double); })};

}  // namespace
}  // namespace figment::cuda
