// Max pooling, taking and its transpose with several channels to a thread. The transpose is a
// gather: a pixel searches the windows that cover it again, so that each element has one writer and
// a fixed order.
#include "../resize/pixels.h"
#include "kernels/params/maxPool.generated.h"
#include "kernels/params/maxPoolGrad.generated.h"
#include "kernels/params/maxPoolTake.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

struct Images {
  Pixels to;
  Divisor strideY, strideX;
  int h, w, c, ho, wo, kh, kw, padY, padX;
};

/// The largest of each channel's window: its value, and the pixel of image n that it is of.
template <int V>
struct Largest {
  float value[V];
  int pixel[V];
};

/// Under window (oy, ox). Windows are never empty.
template <int V>
FIGMENT_DEVICE Largest<V> search(const Global<const float>& x, const Images& p, int n, int oy,
                                 int ox, int c) {
  const int y0 = oy * int(p.strideY.divisor) - p.padY, x0 = ox * int(p.strideX.divisor) - p.padX;
  const int yEnd = min(y0 + p.kh, p.h), xBegin = max(x0, 0), xEnd = min(x0 + p.kw, p.w);
  Largest<V> found;
  FIGMENT_UNROLL
  for (int j = 0; j < V; j++) found.pixel[j] = -1;
  for (int iy = max(y0, 0); iy < yEnd; iy++) {
    for (int ix = xBegin; ix < xEnd; ix++) {
      const int pixel = iy * p.w + ix;
      const auto value = x.template load<Channels<V>>((n * p.h * p.w + pixel) * p.c + c);
      FIGMENT_UNROLL
      for (int j = 0; j < V; j++) {
        const bool better =
            found.pixel[j] < 0 || value.v[j] > found.value[j] || value.v[j] != value.v[j];
        found.value[j] = better ? value.v[j] : found.value[j];
        found.pixel[j] = better ? pixel : found.pixel[j];
      }
    }
  }
  return found;
}

/// maxPool, and maxPoolTake where there are values to take.
template <int V, bool take>
FIGMENT_KERNEL(kThreads)
takeKernel(Global<const float> x, Global<const float> values, Global<float> y, Images p) {
  const auto step = uint32_t(threadsOfGrid());
  for (auto item = uint32_t(threadInGrid()); item < p.to.count; item += step) {
    const Pixel at = p.to.at(item);
    const Largest<V> found = search<V>(x, p, at.n, at.y, at.x, at.c);
    Channels<V> result;
    FIGMENT_UNROLL
    for (int j = 0; j < V; j++)
      result.v[j] =
          take ? values[(at.n * p.h * p.w + found.pixel[j]) * p.c + at.c + j] : found.value[j];
    y.store(int(item) * V, result);
  }
}

template <int V>
FIGMENT_KERNEL(kThreads)
gradKernel(Global<const float> x, Global<const float> dy, Global<float> dx, Images p) {
  const auto step = uint32_t(threadsOfGrid());
  for (auto item = uint32_t(threadInGrid()); item < p.to.count; item += step) {
    const Pixel at = p.to.at(item);
    const int pastY = at.y + p.padY, pastX = at.x + p.padX, pixel = at.y * p.w + at.x;
    const int yBegin = pastY < p.kh ? 0 : int(p.strideY.quotient(uint32_t(pastY - p.kh))) + 1;
    const int xBegin = pastX < p.kw ? 0 : int(p.strideX.quotient(uint32_t(pastX - p.kw))) + 1;
    const int yEnd = min(int(p.strideY.quotient(uint32_t(pastY))) + 1, p.ho);
    const int xEnd = min(int(p.strideX.quotient(uint32_t(pastX))) + 1, p.wo);
    Channels<V> sum = {};
    for (int oy = yBegin; oy < yEnd; oy++) {
      for (int ox = xBegin; ox < xEnd; ox++) {
        const Largest<V> found = search<V>(x, p, at.n, oy, ox, at.c);
        const auto share =
            dy.template load<Channels<V>>(((at.n * p.ho + oy) * p.wo + ox) * p.c + at.c);
        FIGMENT_UNROLL
        for (int j = 0; j < V; j++) sum.v[j] += found.pixel[j] == pixel ? share.v[j] : 0.0f;
      }
    }
    dx.store(int(item) * V, sum);
  }
}

template <class P>
Images imagesOf(const OpCall& call, int lanes) {
  const P& p = call.as<P>();
  const int64_t* out = call.out[0].dims;
  return {Pixels(out[0], out[1], out[2], out[3], lanes),
          Divisor(uint32_t(p.stride[0])),
          Divisor(uint32_t(p.stride[1])),
          p.h,
          p.w,
          p.c,
          p.ho,
          p.wo,
          p.kh,
          p.kw,
          p.padLo[0],
          p.padLo[1]};
}

template <class P, auto four, auto one>
void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const int lanes = channelsAtOnce(call, call.as<P>().c, call.inCount);
  const Images images = imagesOf<P>(call, lanes);
  const Grid grid = gridFor(launcher, images.to.count, kThreads);
  const auto x = viewOf<const float>(call.in[0]),
             second = viewOf<const float>(call.in[call.inCount - 1]);
  const auto y = viewOf<float>(call.out[0]);
  if (lanes == 4)
    launch<four>(launcher, grid, kThreads, 0, x, second, y, images);
  else
    launch<one>(launcher, grid, kThreads, 0, x, second, y, images);
}

template <class P>
int supports(const OpCall& call) {
  const P& p = call.as<P>();
  const double longest =
      larger(double(p.h) + p.kh * 3.0 + p.stride[0], double(p.w) + p.kw * 3.0 + p.stride[1]);
  return longest < 2147483647.0 ? supportsF32Images(call) : -1;
}

constexpr Variant vector(const char* op, int (*supports)(const OpCall&),
                         void (*run)(const OpCall&, Context&)) {
  return {.op = op,
          .name = "vector",
          .isa = Isa::sm75,
          .supports = supports,
          .scratch = nullptr,
          .run = run};
}
const RegisterVariant registerPool{
    vector("maxPool", supports<MaxPoolParams>,
           run<MaxPoolParams, takeKernel<4, false>, takeKernel<1, false>>)};
const RegisterVariant registerTake{
    vector("maxPoolTake", supports<MaxPoolTakeParams>,
           run<MaxPoolTakeParams, takeKernel<4, true>, takeKernel<1, true>>)};
const RegisterVariant registerGrad{vector("maxPoolGrad", supports<MaxPoolGradParams>,
                                          run<MaxPoolGradParams, gradKernel<4>, gradKernel<1>>)};

}  // namespace
}  // namespace figment::cuda
