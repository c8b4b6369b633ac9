// Average pooling, its gradient and that of nearest-neighbour resizing are one thing: for each
// pixel of the result the sum over a box of pixels, rows outside. What differs is which box.
#include "kernels/params/avgPool.generated.h"
#include "kernels/params/avgPoolGrad.generated.h"
#include "kernels/params/resizeNearestGrad.generated.h"
#include "pixels.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

struct Span {
  int begin, end;
};

/// One axis of a window operation. `covering` turns it around: the windows over a position.
struct Windows {
  Divisor stride;
  int in, kernel, pad;

  FIGMENT_DEVICE Span under(int i) const {
    const int begin = i * int(stride.divisor) - pad;
    return {max(begin, 0), min(begin + kernel, in)};
  }
  /// `in` counts windows here.
  FIGMENT_DEVICE Span over(int i) const {
    const int past = i + pad;
    const int begin = past < kernel ? 0 : int(stride.quotient(uint32_t(past - kernel))) + 1;
    return {begin, min(int(stride.quotient(uint32_t(past))) + 1, in)};
  }
};

/// Results of nearest-neighbour resizing whose source is i.
struct Targets {
  Divisor in;
  int out;
  FIGMENT_DEVICE int first(int i) const {
    return int(in.quotient(uint32_t(i) * uint32_t(out) + in.divisor - 1));
  }
};

struct PoolBoxes {
  Windows rows, columns;
  FIGMENT_DEVICE Span row(int y) const { return rows.under(y); }
  FIGMENT_DEVICE Span column(int x) const { return columns.under(x); }
};
struct PoolGradBoxes {
  Windows rows, columns;
  FIGMENT_DEVICE Span row(int y) const { return rows.over(y); }
  FIGMENT_DEVICE Span column(int x) const { return columns.over(x); }
};
struct NearestGradBoxes {
  Targets rows, columns;
  FIGMENT_DEVICE Span row(int y) const { return {rows.first(y), rows.first(y + 1)}; }
  FIGMENT_DEVICE Span column(int x) const { return {columns.first(x), columns.first(x + 1)}; }
};

struct From {
  Pixels to;
  int h, w, c;  // of what is summed
  float scale;
};

template <class Boxes, int V>
FIGMENT_KERNEL(kThreads)
boxKernel(Global<const float> x, Global<float> y, From from, Boxes boxes) {
  const auto step = uint32_t(threadsOfGrid());
  for (auto item = uint32_t(threadInGrid()); item < from.to.count; item += step) {
    const Pixel at = from.to.at(item);
    const Span rows = boxes.row(at.y), columns = boxes.column(at.x);
    Channels<V> sum = {};
    for (int iy = rows.begin; iy < rows.end; iy++) {
      const int row = (at.n * from.h + iy) * from.w;
      for (int ix = columns.begin; ix < columns.end; ix++) {
        const auto value = x.template load<Channels<V>>((row + ix) * from.c + at.c);
        FIGMENT_UNROLL
        for (int j = 0; j < V; j++) sum.v[j] += value.v[j];
      }
    }
    FIGMENT_UNROLL
    for (int j = 0; j < V; j++) sum.v[j] *= from.scale;
    y.store(int(item) * V, sum);
  }
}

template <class Boxes>
void runBoxes(const OpCall& call, Context& context, const Boxes& boxes, float scale) {
  Launcher& launcher = launcherOf(context);
  const int64_t *in = call.in[0].dims, *out = call.out[0].dims;
  const int lanes = channelsAtOnce(call, out[3], 1);
  const From from = {Pixels(out[0], out[1], out[2], out[3], lanes), int(in[1]), int(in[2]),
                     int(in[3]), scale};
  const Grid grid = gridFor(launcher, from.to.count, kThreads);
  const auto x = viewOf<const float>(call.in[0]);
  const auto y = viewOf<float>(call.out[0]);
  if (lanes == 4)
    launch<boxKernel<Boxes, 4>>(launcher, grid, kThreads, 0, x, y, from, boxes);
  else
    launch<boxKernel<Boxes, 1>>(launcher, grid, kThreads, 0, x, y, from, boxes);
}

template <class P, class Boxes>
void runPool(const OpCall& call, Context& context) {
  const P& p = call.as<P>();
  const auto axis = [&](int d, int in, int kernel) {
    return Windows{Divisor(uint32_t(p.stride[d])), in, kernel, p.padLo[d]};
  };
  constexpr bool gradient = std::is_same_v<Boxes, PoolGradBoxes>;
  const Boxes boxes = {axis(0, gradient ? p.ho : p.h, p.kh), axis(1, gradient ? p.wo : p.w, p.kw)};
  runBoxes(call, context, boxes, 1.0f / (float(p.kh) * float(p.kw)));
}

void runNearestGrad(const OpCall& call, Context& context) {
  const auto& p = call.as<ResizeNearestGradParams>();
  const NearestGradBoxes boxes = {{Divisor(uint32_t(p.h)), p.ho}, {Divisor(uint32_t(p.w)), p.wo}};
  runBoxes(call, context, boxes, 1.0f);
}

/// Positions are counted with 31 bits, padding and last windows included.
template <class P>
int supportsPool(const OpCall& call) {
  const P& p = call.as<P>();
  bool small = true;
  const double in[2] = {double(p.h), double(p.w)}, kernel[2] = {double(p.kh), double(p.kw)};
  for (int d = 0; d < 2; d++)
    small =
        small && in[d] + p.padLo[d] + double(p.padHi[d]) + kernel[d] + p.stride[d] < 2147483647.0;
  return small ? supportsF32Images(call) : -1;
}

int supportsNearestGrad(const OpCall& call) {
  const auto& p = call.as<ResizeNearestGradParams>();
  const bool small =
      (p.h + 1.0) * (p.ho + 1.0) < 2147483647.0 && (p.w + 1.0) * (p.wo + 1.0) < 2147483647.0;
  return small ? supportsF32Images(call) : -1;
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
    vector("avgPool", supportsPool<AvgPoolParams>, runPool<AvgPoolParams, PoolBoxes>)};
const RegisterVariant registerPoolGrad{vector("avgPoolGrad", supportsPool<AvgPoolGradParams>,
                                              runPool<AvgPoolGradParams, PoolGradBoxes>)};
const RegisterVariant registerNearestGrad{
    vector("resizeNearestGrad", supportsNearestGrad, runNearestGrad)};

}  // namespace
}  // namespace figment::cuda
