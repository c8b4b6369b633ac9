// Resizing and pooling by their definitions: forward one output at a time, gradients by scattering
// each output's share to the inputs that made it.
#include "../reference.h"

#include <cstring>

#include "../params/avgPool.generated.h"
#include "../params/avgPoolGrad.generated.h"
#include "../params/resizeNearest.generated.h"
#include "../params/resizeNearestGrad.generated.h"

namespace figment::resize {
namespace {

void nearest(const OpCall& call, Context& context) {
  const ResizeNearestParams& p = call.as<ResizeNearestParams>();
  const int64_t width = int64_t(formatBytes(call.in[0].format));
  if (call.out[0].elements() == 0) return;
  context.parallelFor(p.n, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t n = begin; n < end; n++)
      for (int64_t y = 0; y < p.ho; y++)
        for (int64_t x = 0; x < p.wo; x++) {
          const int64_t from = (n * p.h + y * p.h / p.ho) * p.w + x * p.w / p.wo;
          const int64_t to = (n * p.ho + y) * p.wo + x;
          std::memcpy(call.out[0].as<char>() + to * p.c * width,
                      call.in[0].as<char>() + from * p.c * width, size_t(p.c * width));
        }
  });
}

template <class T>
void nearestGrad(const OpCall& call, Context& context) {
  const ResizeNearestGradParams& p = call.as<ResizeNearestGradParams>();
  if (call.out[0].elements() == 0) return;
  context.parallelFor(p.n, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t n = begin; n < end; n++) {
      T* image = call.out[0].as<T>() + n * p.h * p.w * p.c;
      for (int64_t i = 0; i < int64_t(p.h) * p.w * p.c; i++) image[i] = T(0);
      for (int64_t y = 0; y < p.ho; y++)
        for (int64_t x = 0; x < p.wo; x++)
          for (int64_t c = 0; c < p.c; c++)
            image[((y * p.h / p.ho) * p.w + x * p.w / p.wo) * p.c + c] +=
                call.in[0].as<T>()[((n * p.ho + y) * p.wo + x) * p.c + c];
    }
  });
}

/// Visits (input position, output position) of every pair that a window of image n joins.
template <class P, class F>
void forWindows(const P& p, int64_t n, F f) {
  for (int64_t y = 0; y < p.ho; y++)
    for (int64_t x = 0; x < p.wo; x++)
      for (int64_t ky = 0; ky < p.kh; ky++)
        for (int64_t kx = 0; kx < p.kw; kx++) {
          const int64_t iy = y * p.stride[0] - p.padLo[0] + ky;
          const int64_t ix = x * p.stride[1] - p.padLo[1] + kx;
          if (iy < 0 || iy >= p.h || ix < 0 || ix >= p.w) continue;
          f((n * p.h + iy) * p.w + ix, (n * p.ho + y) * p.wo + x);
        }
}

template <class P, class T, bool gradient>
void pool(const OpCall& call, Context& context) {
  const P& p = call.as<P>();
  if (call.out[0].elements() == 0) return;
  const T* in = call.in[0].as<T>();
  T* out = call.out[0].as<T>();
  const T scale = T(1) / (T(p.kh) * T(p.kw));
  const int64_t image = call.out[0].elements() / p.n;
  context.parallelFor(p.n, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t n = begin; n < end; n++) {
      for (int64_t i = 0; i < image; i++) out[n * image + i] = T(0);
      forWindows(p, n, [&](int64_t x, int64_t y) {
        const int64_t from = gradient ? y : x;
        const int64_t to = gradient ? x : y;
        for (int64_t c = 0; c < p.c; c++) out[to * p.c + c] += in[from * p.c + c] * scale;
      });
    }
  });
}

const RegisterVariant registerNearest{referenceVariant("resizeNearest", nearest)};
const RegisterVariant registerNearestGrad{
    referenceVariant("resizeNearestGrad", byFloat<nearestGrad<float>, nearestGrad<double>>)};
const RegisterVariant registerPool{referenceVariant(
    "avgPool", byFloat<pool<AvgPoolParams, float, false>, pool<AvgPoolParams, double, false>>)};
const RegisterVariant registerPoolGrad{referenceVariant(
    "avgPoolGrad",
    byFloat<pool<AvgPoolGradParams, float, true>, pool<AvgPoolGradParams, double, true>>)};

}  // namespace
}  // namespace figment::resize
