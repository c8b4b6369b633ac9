// cumsum: one thread for each line along the axis. Sums of f32 run in f64, as the operation says.
#include <type_traits>

#include "../../device/floats.h"
#include "kernels/params/cumsum.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 128;

/// Integer sums wrap, hence the unsigned accumulator.
template <class T>
using Running = std::conditional_t<std::is_integral_v<T>, uint32_t, double>;

template <class T>
FIGMENT_KERNEL(kThreads)
cumsumKernel(Global<const T> x, Global<T> y, CumsumParams p) {
  for (int64_t line = threadInGrid(); line < p.outer * p.inner; line += threadsOfGrid()) {
    const int64_t first = line / p.inner * p.axis * p.inner + line % p.inner;
    Running<T> sum = 0;
    for (int64_t k = 0; k < p.axis; k++) {
      const int64_t at = first + (p.reverse != 0 ? p.axis - 1 - k : k) * p.inner;
      const Running<T> before = sum;
      sum += Running<T>(x[at]);
      y[at] = T(p.exclusive != 0 ? before : sum);
    }
  }
}

template <class T>
void runAs(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<CumsumParams>();
  if (call.in[0].empty()) return;
  launch<cumsumKernel<T>>(launcher, gridFor(launcher, p.outer * p.inner, kThreads), kThreads, 0,
                          viewOf<const T>(call.in[0]), viewOf<T>(call.out[0]), p);
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  if (call.in[0].format == Format::f32) return runAs<float>(call, launcher);
  if (call.in[0].format == Format::f64) return runAs<double>(call, launcher);
  runAs<int32_t>(call, launcher);
}

const RegisterVariant registrar{plainVariant("cumsum", run)};

}  // namespace
}  // namespace figment::cuda
