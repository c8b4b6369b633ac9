// gather and scatterAdd, one thread for each element of the result: that of scatterAdd looks
// through all indices for its own, in their order.
#include "../../device/launch.h"
#include "../plain.h"
#include "indices.h"
#include "kernels/params/gather.generated.h"
#include "kernels/params/scatterAdd.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

/// Elements at indices outside the axis become zero.
template <class T>
FIGMENT_KERNEL(kThreads)
gatherKernel(Global<const T> x, Global<const int32_t> indices, Global<T> y, GatherParams p) {
  const int64_t count = p.outer * p.count * p.inner;
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    const int64_t row = e / p.inner;
    const int32_t index = indices[row % p.count];
    const bool known = index >= 0 && index < p.axis;
    y[e] = known ? x[(row / p.count * p.axis + index) * p.inner + e % p.inner] : T(0);
  }
}

template <class T>
FIGMENT_KERNEL(kThreads)
scatterAddKernel(Global<const T> updates, Global<const int32_t> indices, Global<T> y,
                 ScatterAddParams p) {
  const int64_t count = p.outer * p.axis * p.inner;
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    const int64_t row = e / p.inner, outer = row / p.axis, place = row % p.axis;
    T sum = T(0);
    for (int64_t i = 0; i < p.count; i++)
      if (indices[i] == place) sum += updates[(outer * p.count + i) * p.inner + e % p.inner];
    y[e] = sum;
  }
}

template <class T>
void gatherAs(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<GatherParams>();
  const int64_t count = call.out[0].elements();
  if (count == 0) return;
  checkIndices(call, launcher, p.count, p.axis);
  launch<gatherKernel<T>>(launcher, gridFor(launcher, count, kThreads), kThreads, 0,
                          viewOf<const T>(call.in[0]), viewOf<const int32_t>(call.in[1]),
                          viewOf<T>(call.out[0]), p);
}

void gather(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  switch (formatBytes(call.in[0].format)) {
    case 1:
      return gatherAs<uint8_t>(call, launcher);
    case 2:
      return gatherAs<uint16_t>(call, launcher);
    case 4:
      return gatherAs<uint32_t>(call, launcher);
    default:
      return gatherAs<uint64_t>(call, launcher);
  }
}

template <class T>
void scatterAddAs(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<ScatterAddParams>();
  if (call.in[0].elements() > 0) checkIndices(call, launcher, p.count, p.axis);
  ScatterAddParams work = p;
  if (call.in[0].elements() == 0) work.count = 0;
  launch<scatterAddKernel<T>>(launcher, gridFor(launcher, call.out[0].elements(), kThreads),
                              kThreads, 0, viewOf<const T>(call.in[0]),
                              viewOf<const int32_t>(call.in[1]), viewOf<T>(call.out[0]), work);
}

void scatterAdd(const OpCall& call, Context& context) {
  const bool wide = call.out[0].format == Format::f64;
  (wide ? scatterAddAs<double> : scatterAddAs<float>)(call, launcherOf(context));
}

const RegisterVariant gatherRegistrar{plainVariant("gather", gather)};
const RegisterVariant scatterAddRegistrar{plainVariant("scatterAdd", scatterAdd)};

}  // namespace
}  // namespace figment::cuda
