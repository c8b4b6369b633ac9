// sgd: one tensor after another, arithmetic in f64 (native/src/kernels/optimizer/sgd.cpp has the
// formulas).
#include "../../device/launch.h"
#include "../plain.h"
#include "kernels/params/sgd.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

/// Views of an absent buffer are empty.
template <class T>
struct SgdTensor {
  Global<const T> weight, grad, buffer;
  Global<T> newWeight, newBuffer;
  int64_t count;
};

template <class T>
FIGMENT_KERNEL(kThreads)
sgdKernel(SgdParams p, Global<const T> rate, Global<const T> scale, SgdTensor<T> t) {
  const double lr = double(rate[0]), gradScale = double(scale[0]);
  for (int64_t i = threadInGrid(); i < t.count; i += threadsOfGrid()) {
    const double weight = double(t.weight[i]);
    const double grad = double(t.grad[i]) * gradScale + p.weightDecay * weight;
    double direction = grad;
    if (p.buffered) {
      const double buffer = p.momentum * double(t.buffer[i]) + grad;
      direction = p.nesterov ? grad + p.momentum * buffer : buffer;
      t.newBuffer[i] = T(buffer);
    }
    t.newWeight[i] = T(weight - lr * direction);
  }
}

template <class T>
void runAs(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<SgdParams>();
  const Operand *weights = call.in + 2, *grads = weights + p.count, *buffers = grads + p.count;
  for (int32_t t = 0; t < p.count; t++) {
    SgdTensor<T> tensor = {
        viewOf<const T>(weights[t]), viewOf<const T>(grads[t]), {}, viewOf<T>(call.out[t]), {},
        weights[t].elements()};
    if (p.buffered) {
      tensor.buffer = viewOf<const T>(buffers[t]);
      tensor.newBuffer = viewOf<T>(call.out[p.count + t]);
    }
    launch<sgdKernel<T>>(launcher, gridFor(launcher, tensor.count, kThreads), kThreads, 0, p,
                         viewOf<const T>(call.in[0]), viewOf<const T>(call.in[1]), tensor);
  }
}

void run(const OpCall& call, Context& context) {
  const bool wide = call.outCount > 0 && call.out[0].format == Format::f64;
  (wide ? runAs<double> : runAs<float>)(call, launcherOf(context));
}

const RegisterVariant registrar{plainVariant("sgd", run)};

}  // namespace
}  // namespace figment::cuda
