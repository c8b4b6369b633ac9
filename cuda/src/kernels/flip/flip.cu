// flip: the order of the elements along some axes reversed, one thread for each element.
#include "../../device/launch.h"
#include "../plain.h"
#include "kernels/params/flip.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

struct Shape {
  int rank;
  int32_t axes;
  int64_t dims[kMaxRank];
};

template <class T>
FIGMENT_KERNEL(kThreads)
flipKernel(Global<const T> x, Global<T> y, int64_t count, Shape shape) {
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    int64_t rest = e, from = 0, stride = 1;
    for (int i = shape.rank - 1; i >= 0; i--) {
      const int64_t place = rest % shape.dims[i];
      from += ((shape.axes >> i & 1) != 0 ? shape.dims[i] - 1 - place : place) * stride;
      rest /= shape.dims[i];
      stride *= shape.dims[i];
    }
    y[e] = x[from];
  }
}

template <class T>
void runAs(const OpCall& call, Launcher& launcher) {
  const Operand& x = call.in[0];
  Shape shape = {x.rank, call.as<FlipParams>().axes, {}};
  for (int i = 0; i < x.rank; i++) shape.dims[i] = x.dims[i];
  const int64_t count = x.elements();
  launch<flipKernel<T>>(launcher, gridFor(launcher, count, kThreads), kThreads, 0,
                        viewOf<const T>(x), viewOf<T>(call.out[0]), count, shape);
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  switch (formatBytes(call.in[0].format)) {
    case 1:
      return runAs<uint8_t>(call, launcher);
    case 2:
      return runAs<uint16_t>(call, launcher);
    case 4:
      return runAs<uint32_t>(call, launcher);
    default:
      return runAs<uint64_t>(call, launcher);
  }
}

const RegisterVariant registrar{plainVariant("flip", run)};

}  // namespace
}  // namespace figment::cuda
