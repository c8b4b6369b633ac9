// argReduce: one thread for each output, along the axis.
#include "../../device/floats.h"
#include "kernels/arg_reduce/arg_reduce.h"
#include "kernels/params/argReduce.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
FIGMENT_KERNEL(kThreads)
argKernel(Global<const T> x, Global<int32_t> y, ArgReduceParams p) {
  for (int64_t o = threadInGrid(); o < p.outer * p.inner; o += threadsOfGrid()) {
    const int64_t first = o / p.inner * p.axis * p.inner + o % p.inner;
    int64_t best = 0;
    T held = x[first];
    for (int64_t a = 1; a < p.axis && held == held; a++) {
      const T value = x[first + a * p.inner];
      if (value != value || (p.kind == kArgMax ? value > held : value < held)) {
        best = a;
        held = value;
      }
    }
    y[o] = int32_t(best);
  }
}

template <class T>
void runAs(const OpCall& call, Launcher& launcher) {
  launch<argKernel<T>>(launcher, gridFor(launcher, call.out[0].elements(), kThreads), kThreads, 0,
                       viewOf<const T>(call.in[0]), viewOf<int32_t>(call.out[0]),
                       call.as<ArgReduceParams>());
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  if (call.in[0].format == Format::f32) return runAs<float>(call, launcher);
  if (call.in[0].format == Format::f64) return runAs<double>(call, launcher);
  runAs<int32_t>(call, launcher);
}

const RegisterVariant registrar{plainVariant("argReduce", run)};

}  // namespace
}  // namespace figment::cuda
