// checkFinite: one tensor after another, each thread up to the first number that is not finite.
#include "../../device/launch.h"
#include "../../device/number.h"
#include "../first.h"
#include "../plain.h"
#include "kernels/params/checkFinite.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

FIGMENT_DEVICE double valueOf(float x) { return double(x); }
FIGMENT_DEVICE double valueOf(double x) { return x; }
FIGMENT_DEVICE double valueOf(Bf16 x) { return double(widen(x)); }
FIGMENT_DEVICE double valueOf(F16 x) { return double(widen(x)); }

template <class T>
FIGMENT_KERNEL(kThreads)
finiteKernel(Global<const T> x, int64_t count, uint32_t tensor, FailureSink failures) {
  reportFirst<kThreads>(count, tensor, failures, [&](int64_t i, double& value) {
    value = valueOf(x[i]);
    return !(value - value == 0);  // NaN for what is not finite
  });
}

template <class T>
void checkAs(const OpCall& call, Launcher& launcher, int tensor) {
  const Operand& x = call.in[tensor];
  launch<finiteKernel<T>>(launcher, gridFor(launcher, x.elements(), kThreads), kThreads, 0,
                          viewOf<const T>(x), x.elements(), uint32_t(tensor), launcher.failures());
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  for (int t = 0; t < call.inCount; t++) {
    switch (call.in[t].format) {
      case Format::f64:
        checkAs<double>(call, launcher, t);
        break;
      case Format::bf16:
        checkAs<Bf16>(call, launcher, t);
        break;
      case Format::f16:
        checkAs<F16>(call, launcher, t);
        break;
      default:
        checkAs<float>(call, launcher, t);
    }
  }
}

const RegisterVariant registrar{plainVariant("checkFinite", run)};

}  // namespace
}  // namespace figment::cuda
