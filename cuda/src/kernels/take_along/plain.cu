// takeAlong and scatterAddAlong, one thread for each element of the result: that of scatterAddAlong
// looks through the indices of its own line, in their order.
#include "../../device/launch.h"
#include "../indexing/indices.h"
#include "../plain.h"
#include "kernels/params/scatterAddAlong.generated.h"
#include "kernels/params/takeAlong.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

/// Elements at indices outside the axis become zero.
template <class T>
FIGMENT_KERNEL(kThreads)
takeKernel(Global<const T> x, Global<const int32_t> indices, Global<T> y, TakeAlongParams p) {
  const int64_t count = p.outer * p.count * p.inner;
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    const int32_t index = indices[e];
    const int64_t outer = e / (p.count * p.inner);
    const bool known = index >= 0 && index < p.axis;
    y[e] = known ? x[(outer * p.axis + index) * p.inner + e % p.inner] : T(0);
  }
}

template <class T>
FIGMENT_KERNEL(kThreads)
scatterKernel(Global<const T> updates, Global<const int32_t> indices, Global<T> y,
              ScatterAddAlongParams p) {
  const int64_t count = p.outer * p.axis * p.inner;
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    const int64_t row = e / p.inner, outer = row / p.axis, place = row % p.axis;
    T sum = T(0);
    for (int64_t c = 0; c < p.count; c++) {
      const int64_t at = (outer * p.count + c) * p.inner + e % p.inner;
      if (indices[at] == place) sum += updates[at];
    }
    y[e] = sum;
  }
}

template <class T>
void takeAs(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<TakeAlongParams>();
  const int64_t count = call.out[0].elements();
  if (count == 0) return;
  checkIndices(call, launcher, count, p.axis);
  launch<takeKernel<T>>(launcher, gridFor(launcher, count, kThreads), kThreads, 0,
                        viewOf<const T>(call.in[0]), viewOf<const int32_t>(call.in[1]),
                        viewOf<T>(call.out[0]), p);
}

void take(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  switch (formatBytes(call.in[0].format)) {
    case 1:
      return takeAs<uint8_t>(call, launcher);
    case 2:
      return takeAs<uint16_t>(call, launcher);
    case 4:
      return takeAs<uint32_t>(call, launcher);
    default:
      return takeAs<uint64_t>(call, launcher);
  }
}

template <class T>
void scatterAs(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<ScatterAddAlongParams>();
  const int64_t count = call.out[0].elements();
  checkIndices(call, launcher, call.in[0].elements(), p.axis);
  launch<scatterKernel<T>>(launcher, gridFor(launcher, count, kThreads), kThreads, 0,
                           viewOf<const T>(call.in[0]), viewOf<const int32_t>(call.in[1]),
                           viewOf<T>(call.out[0]), p);
}

void scatter(const OpCall& call, Context& context) {
  const bool wide = call.out[0].format == Format::f64;
  (wide ? scatterAs<double> : scatterAs<float>)(call, launcherOf(context));
}

const RegisterVariant takeRegistrar{plainVariant("takeAlong", take)};
const RegisterVariant scatterRegistrar{plainVariant("scatterAddAlong", scatter)};

}  // namespace
}  // namespace figment::cuda
