// Max pooling by its definition, one window of one channel at a time.
#include "../reference.h"

#include "../params/maxPool.generated.h"
#include "../params/maxPoolGrad.generated.h"
#include "../params/maxPoolTake.generated.h"
#include "../resize/geometry.h"

namespace figment::max_pool {
namespace {

using resize::Range;
using resize::windowInputs;

/// The element of x, by its index, that is the largest under window (y, x) of image n in channel c.
template <class P, class T>
int64_t largest(const P& p, const T* data, int64_t n, int64_t y, int64_t x, int64_t c) {
  const Range rows = windowInputs(y, p.h, p.kh, p.stride[0], p.padLo[0]);
  const Range columns = windowInputs(x, p.w, p.kw, p.stride[1], p.padLo[1]);
  int64_t found = -1;
  for (int64_t iy = rows.begin; iy < rows.end; iy++)
    for (int64_t ix = columns.begin; ix < columns.end; ix++) {
      const int64_t at = ((n * p.h + iy) * p.w + ix) * p.c + c;
      const bool isNan = data[at] != data[at];
      if (found < 0 || data[at] > data[found] || isNan) found = at;
    }
  return found;
}

/// Calls f(window element, largest element of x under it) for all windows of image n.
template <class P, class T, class F>
void forWindows(const P& p, const T* data, int64_t n, F f) {
  int64_t window = n * p.ho * p.wo * p.c;
  for (int64_t y = 0; y < p.ho; y++)
    for (int64_t x = 0; x < p.wo; x++)
      for (int64_t c = 0; c < p.c; c++) f(window++, largest(p, data, n, y, x, c));
}

/// maxPool and maxPoolTake: the latter takes from its second input.
template <class P, class T, int source>
void take(const OpCall& call, Context& context) {
  const P& p = call.as<P>();
  if (call.out[0].empty()) return;
  const T* x = call.in[0].as<const T>();
  const T* from = call.in[source].as<const T>();
  T* y = call.out[0].as<T>();
  context.parallelFor(p.n, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t n = begin; n < end; n++)
      forWindows(p, x, n, [&](int64_t window, int64_t at) { y[window] = from[at]; });
  });
}

template <class T>
void grad(const OpCall& call, Context& context) {
  const auto& p = call.as<MaxPoolGradParams>();
  if (call.out[0].empty()) return;
  const T* x = call.in[0].as<const T>();
  const T* dy = call.in[1].as<const T>();
  T* dx = call.out[0].as<T>();
  const int64_t image = int64_t(p.h) * p.w * p.c;
  context.parallelFor(p.n, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t n = begin; n < end; n++) {
      for (int64_t i = 0; i < image; i++) dx[n * image + i] = T(0);
      forWindows(p, x, n, [&](int64_t window, int64_t at) { dx[at] += dy[window]; });
    }
  });
}

const RegisterVariant registerPool{referenceVariant(
    "maxPool", byFloat<take<MaxPoolParams, float, 0>, take<MaxPoolParams, double, 0>>)};
const RegisterVariant registerTake{referenceVariant(
    "maxPoolTake", byFloat<take<MaxPoolTakeParams, float, 1>, take<MaxPoolTakeParams, double, 1>>)};
const RegisterVariant registerGrad{
    referenceVariant("maxPoolGrad", byFloat<grad<float>, grad<double>>)};

}  // namespace
}  // namespace figment::max_pool
