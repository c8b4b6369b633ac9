// checkFinite: one tensor after another, each thread up to the first number that is not finite; and
// the words for it.
#include <cmath>
#include <cstring>

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

/// The tail holds the inputs' names, each ended by a zero byte.
std::string nameOf(const OpCall& call, int tensor) {
  const auto* text = static_cast<const char*>(call.params) + sizeof(CheckFiniteParams);
  const auto* end = static_cast<const char*>(call.params) + call.paramBytes;
  for (int i = 0; text < end; i++) {
    const auto* zero = static_cast<const char*>(std::memchr(text, 0, size_t(end - text)));
    if (!zero) break;
    if (i == tensor) return std::string(text, zero);
    text = zero + 1;
  }
  return "value " + std::to_string(tensor);
}

FailureText describe(const OpCall& call, const DeviceFailure& failure) {
  const char* what = std::isnan(failure.value) ? "NaN"
                     : failure.value < 0       ? "-Infinity"
                                               : "Infinity";
  return {"ERR_FIGMENT_NONFINITE", nameOf(call, int(failure.operand)) + " is not finite: element " +
                                       std::to_string(failure.position) + " of " +
                                       std::to_string(call.in[failure.operand].elements()) +
                                       " is " + what};
}

const RegisterVariant registrar{plainVariant("checkFinite", run)};
const RegisterFailure words{"checkFinite", describe};

}  // namespace
}  // namespace figment::cuda
