// Max pooling by its definition, one thread for each element of the result. The gradient is a
// gather: every element of the image looks at the windows that cover it, in their order, and adds
// up those whose largest it is.
#include "../../device/launch.h"
#include "../plain.h"
#include "kernels/params/maxPool.generated.h"
#include "kernels/params/maxPoolGrad.generated.h"
#include "kernels/params/maxPoolTake.generated.h"
#include "kernels/resize/geometry.h"

namespace figment::cuda {
namespace {

using resize::Range;
using resize::windowInputs;
using resize::windowsOver;

constexpr int kThreads = 256;

/// The element of x, by its index, that is the largest under window (y, x) of image n in channel c.
template <class P, class T>
FIGMENT_DEVICE int64_t largest(const P& p, const Global<const T>& image, int64_t n, int64_t y,
                               int64_t x, int64_t c) {
  const Range rows = windowInputs(y, p.h, p.kh, p.stride[0], p.padLo[0]);
  const Range columns = windowInputs(x, p.w, p.kw, p.stride[1], p.padLo[1]);
  int64_t found = -1;
  T best = T(0);
  for (int64_t iy = rows.begin; iy < rows.end; iy++) {
    for (int64_t ix = columns.begin; ix < columns.end; ix++) {
      const int64_t at = ((n * p.h + iy) * p.w + ix) * p.c + c;
      const T value = image[at];
      if (found < 0 || value > best || value != value) {
        found = at;
        best = value;
      }
    }
  }
  return found;
}

template <class P, class T>
FIGMENT_KERNEL(kThreads)
takeKernel(Global<const T> image, Global<const T> values, Global<T> result, int64_t count, P p) {
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    const int64_t c = e % p.c, x = e / p.c % p.wo, y = e / p.c / p.wo % p.ho,
                  n = e / p.c / p.wo / p.ho;
    result[e] = values[largest(p, image, n, y, x, c)];
  }
}

template <class T>
FIGMENT_KERNEL(kThreads)
gradKernel(Global<const T> image, Global<const T> dy, Global<T> dx, int64_t count,
           MaxPoolGradParams p) {
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    const int64_t c = e % p.c, x = e / p.c % p.w, y = e / p.c / p.w % p.h, n = e / p.c / p.w / p.h;
    const Range rows = windowsOver(y, p.ho, p.kh, p.stride[0], p.padLo[0]);
    const Range columns = windowsOver(x, p.wo, p.kw, p.stride[1], p.padLo[1]);
    T sum = T(0);
    for (int64_t oy = rows.begin; oy < rows.end; oy++)
      for (int64_t ox = columns.begin; ox < columns.end; ox++)
        if (largest(p, image, n, oy, ox, c) == e)
          sum += dy[((n * p.ho + oy) * p.wo + ox) * p.c + c];
    dx[e] = sum;
  }
}

/// maxPool and maxPoolTake: the latter takes from its second input.
template <class P, int source, class T>
void runTake(const OpCall& call, Launcher& launcher) {
  const int64_t count = call.out[0].elements();
  launch<takeKernel<P, T>>(launcher, gridFor(launcher, count, kThreads), kThreads, 0,
                           viewOf<const T>(call.in[0]), viewOf<const T>(call.in[source]),
                           viewOf<T>(call.out[0]), count, call.as<P>());
}

template <class T>
void runGrad(const OpCall& call, Launcher& launcher) {
  const int64_t count = call.out[0].elements();
  launch<gradKernel<T>>(launcher, gridFor(launcher, count, kThreads), kThreads, 0,
                        viewOf<const T>(call.in[0]), viewOf<const T>(call.in[1]),
                        viewOf<T>(call.out[0]), count, call.as<MaxPoolGradParams>());
}

template <auto runF32, auto runF64>
void byFormat(const OpCall& call, Context& context) {
  call.out[0].format == Format::f64 ? runF64(call, launcherOf(context))
                                    : runF32(call, launcherOf(context));
}

const RegisterVariant registerPool{plainVariant(
    "maxPool", byFormat<runTake<MaxPoolParams, 0, float>, runTake<MaxPoolParams, 0, double>>)};
const RegisterVariant registerTake{plainVariant(
    "maxPoolTake",
    byFormat<runTake<MaxPoolTakeParams, 1, float>, runTake<MaxPoolTakeParams, 1, double>>)};
const RegisterVariant registerGrad{
    plainVariant("maxPoolGrad", byFormat<runGrad<float>, runGrad<double>>)};

}  // namespace
}  // namespace figment::cuda
