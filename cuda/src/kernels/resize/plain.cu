// Nearest-neighbour resizing and average pooling by their definitions, one thread for each element
// of the result. Gradients are gathers over the results that an element went into.
#include "../../device/launch.h"
#include "../plain.h"
#include "kernels/params/avgPool.generated.h"
#include "kernels/params/avgPoolGrad.generated.h"
#include "kernels/params/resizeNearest.generated.h"
#include "kernels/params/resizeNearestGrad.generated.h"
#include "kernels/resize/geometry.h"

namespace figment::cuda {
namespace {

using resize::nearestSource;
using resize::nearestTargets;
using resize::Range;
using resize::windowInputs;
using resize::windowsOver;

constexpr int kThreads = 256;

/// An element's place in [n, h, w, c].
struct At {
  int64_t n, y, x, c;
};
FIGMENT_DEVICE At placeOf(int64_t e, int64_t h, int64_t w, int64_t channels) {
  return {e / channels / w / h, e / channels / w % h, e / channels % w, e % channels};
}

template <class T>
FIGMENT_KERNEL(kThreads)
nearestKernel(Global<const T> x, Global<T> y, int64_t count, ResizeNearestParams p) {
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    const At at = placeOf(e, p.ho, p.wo, p.c);
    y[e] =
        x[((at.n * p.h + nearestSource(at.y, p.h, p.ho)) * p.w + nearestSource(at.x, p.w, p.wo)) *
              p.c +
          at.c];
  }
}

/// Sums of the elements of [n, height, width, channels] in a box for each element of the result,
/// times `scale`.
template <class T>
FIGMENT_DEVICE T sumOfBox(const Global<const T>& from, int64_t n, int64_t height, int64_t width,
                          int64_t channels, Range rows, Range columns, int64_t c, T scale) {
  T sum = T(0);
  for (int64_t y = rows.begin; y < rows.end; y++)
    for (int64_t x = columns.begin; x < columns.end; x++)
      sum += from[((n * height + y) * width + x) * channels + c] * scale;
  return sum;
}

template <class T>
FIGMENT_KERNEL(kThreads)
nearestGradKernel(Global<const T> dy, Global<T> dx, int64_t count, ResizeNearestGradParams p) {
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    const At at = placeOf(e, p.h, p.w, p.c);
    dx[e] = sumOfBox(dy, at.n, p.ho, p.wo, p.c, nearestTargets(at.y, p.h, p.ho),
                     nearestTargets(at.x, p.w, p.wo), at.c, T(1));
  }
}

template <class T>
FIGMENT_KERNEL(kThreads)
avgPoolKernel(Global<const T> x, Global<T> y, int64_t count, AvgPoolParams p) {
  const T scale = T(1) / (T(p.kh) * T(p.kw));
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    const At at = placeOf(e, p.ho, p.wo, p.c);
    y[e] = sumOfBox(x, at.n, p.h, p.w, p.c, windowInputs(at.y, p.h, p.kh, p.stride[0], p.padLo[0]),
                    windowInputs(at.x, p.w, p.kw, p.stride[1], p.padLo[1]), at.c, scale);
  }
}

template <class T>
FIGMENT_KERNEL(kThreads)
avgPoolGradKernel(Global<const T> dy, Global<T> dx, int64_t count, AvgPoolGradParams p) {
  const T scale = T(1) / (T(p.kh) * T(p.kw));
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    const At at = placeOf(e, p.h, p.w, p.c);
    dx[e] =
        sumOfBox(dy, at.n, p.ho, p.wo, p.c, windowsOver(at.y, p.ho, p.kh, p.stride[0], p.padLo[0]),
                 windowsOver(at.x, p.wo, p.kw, p.stride[1], p.padLo[1]), at.c, scale);
  }
}

template <auto kernel, class P, class T>
void runAs(const OpCall& call, Launcher& launcher) {
  const int64_t count = call.out[0].elements();
  launch<kernel>(launcher, gridFor(launcher, count, kThreads), kThreads, 0,
                 viewOf<const T>(call.in[0]), viewOf<T>(call.out[0]), count, call.as<P>());
}

void runNearest(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  switch (formatBytes(call.in[0].format)) {
    case 1:
      return runAs<nearestKernel<uint8_t>, ResizeNearestParams, uint8_t>(call, launcher);
    case 2:
      return runAs<nearestKernel<uint16_t>, ResizeNearestParams, uint16_t>(call, launcher);
    case 4:
      return runAs<nearestKernel<uint32_t>, ResizeNearestParams, uint32_t>(call, launcher);
    default:
      return runAs<nearestKernel<uint64_t>, ResizeNearestParams, uint64_t>(call, launcher);
  }
}

template <auto kernelF32, auto kernelF64, class P>
void runFloat(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  if (call.out[0].format == Format::f64)
    runAs<kernelF64, P, double>(call, launcher);
  else
    runAs<kernelF32, P, float>(call, launcher);
}

const RegisterVariant registerNearest{plainVariant("resizeNearest", runNearest)};
const RegisterVariant registerNearestGrad{plainVariant(
    "resizeNearestGrad",
    runFloat<nearestGradKernel<float>, nearestGradKernel<double>, ResizeNearestGradParams>)};
const RegisterVariant registerPool{
    plainVariant("avgPool", runFloat<avgPoolKernel<float>, avgPoolKernel<double>, AvgPoolParams>)};
const RegisterVariant registerPoolGrad{
    plainVariant("avgPoolGrad",
                 runFloat<avgPoolGradKernel<float>, avgPoolGradKernel<double>, AvgPoolGradParams>)};

}  // namespace
}  // namespace figment::cuda
