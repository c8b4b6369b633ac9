// castAll: one tensor after another, a thread for each element.
#include "../../device/floats.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

FIGMENT_KERNEL(kThreads)
castKernel(Floats<float> x, FloatResults<float> y) {
  for (int64_t i = threadInGrid(); i < x.count; i += threadsOfGrid()) y.set(i, x[i]);
}

FIGMENT_KERNEL(kThreads)
copyKernel(Global<const uint8_t> x, Global<uint8_t> y, int64_t bytes) {
  for (int64_t i = threadInGrid(); i < bytes; i += threadsOfGrid()) y[i] = x[i];
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  for (int t = 0; t < call.inCount; t++) {
    const Operand &x = call.in[t], &y = call.out[t];
    const int64_t count = x.elements(), bytes = count * int64_t(formatBytes(x.format));
    if (x.format != y.format)
      launch<castKernel>(launcher, gridFor(launcher, count, kThreads), kThreads, 0,
                         floatsOf<float>(x), resultsOf<float>(y));
    else
      launch<copyKernel>(launcher, gridFor(launcher, bytes, kThreads), kThreads, 0,
                         Global<const uint8_t>(x.as<const uint8_t>(), bytes),
                         Global<uint8_t>(y.as<uint8_t>(), bytes), bytes);
  }
}

const RegisterVariant registrar{plainVariant("castAll", run)};

}  // namespace
}  // namespace figment::cuda
