// rmsprop: one tensor after another, arithmetic in f64 (native/src/kernels/optimizer/rmsprop.cpp
// has the formulas).
#include "../../device/launch.h"
#include "../plain.h"
#include "kernels/params/rmsprop.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

/// Views of absent states are empty.
template <class T>
struct RmspropTensor {
  Global<const T> weight, grad, square, mean, buffer;
  Global<T> newWeight, newSquare, newMean, newBuffer;
  int64_t count;
};

template <class T>
FIGMENT_KERNEL(kThreads)
rmspropKernel(RmspropParams p, Global<const T> rate, Global<const T> scale, RmspropTensor<T> t) {
  const double lr = double(rate[0]), gradScale = double(scale[0]);
  for (int64_t i = threadInGrid(); i < t.count; i += threadsOfGrid()) {
    const double weight = double(t.weight[i]);
    const double grad = double(t.grad[i]) * gradScale + p.weightDecay * weight;
    const double square = p.alpha * double(t.square[i]) + (1 - p.alpha) * grad * grad;
    double variance = square;
    if (p.centered) {
      const double mean = p.alpha * double(t.mean[i]) + (1 - p.alpha) * grad;
      variance -= mean * mean;
      if (variance < 0) variance = 0;
      t.newMean[i] = T(mean);
    }
    double direction = grad / (sqrt(variance) + p.eps);
    if (p.buffered) {
      direction += p.momentum * double(t.buffer[i]);
      t.newBuffer[i] = T(direction);
    }
    t.newWeight[i] = T(weight - lr * direction);
    t.newSquare[i] = T(square);
  }
}

template <class T>
void runAs(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<RmspropParams>();
  const int32_t bufferGroup = p.centered ? 2 : 1;
  const Operand *weights = call.in + 2, *grads = weights + p.count, *states = grads + p.count;
  for (int32_t t = 0; t < p.count; t++) {
    const auto state = [&](int group) { return viewOf<const T>(states[group * p.count + t]); };
    const auto result = [&](int group) { return viewOf<T>(call.out[group * p.count + t]); };
    RmspropTensor<T> tensor;
    tensor.weight = viewOf<const T>(weights[t]);
    tensor.grad = viewOf<const T>(grads[t]);
    tensor.square = state(0);
    tensor.newWeight = result(0);
    tensor.newSquare = result(1);
    if (p.centered) {
      tensor.mean = state(1);
      tensor.newMean = result(2);
    }
    if (p.buffered) {
      tensor.buffer = state(bufferGroup);
      tensor.newBuffer = result(1 + bufferGroup);
    }
    tensor.count = weights[t].elements();
    launch<rmspropKernel<T>>(launcher, gridFor(launcher, tensor.count, kThreads), kThreads, 0, p,
                             viewOf<const T>(call.in[0]), viewOf<const T>(call.in[1]), tensor);
  }
}

void run(const OpCall& call, Context& context) {
  const bool wide = call.outCount > 0 && call.out[0].format == Format::f64;
  (wide ? runAs<double> : runAs<float>)(call, launcherOf(context));
}

const RegisterVariant registrar{plainVariant("rmsprop", run)};

}  // namespace
}  // namespace figment::cuda
