// Bilinear resizing and its transpose with several channels to a thread. Places are fractions of
// whole numbers (tap.h), so taps come from integer division: at = ⌊a/b⌋ and weight = (a mod b)/b
// with
//
//   half-pixel centres   a = (2i + 1)·in − out, b = 2·out, and 0 where that is negative
//   aligned corners      a = i·(in − 1),        b = out − 1
//
// The transpose gathers the results whose taps lie at a pixel: those with at = i − 1 or at = i.
#include "../resize/pixels.h"
#include "kernels/params/resizeBilinear.generated.h"
#include "kernels/params/resizeBilinearGrad.generated.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

/// One axis.
struct Axis {
  Divisor denominator, step;
  int in = 1, out = 1;
  int offset = 0;     ///< a = i·step + offset
  float factor = 1;   ///< 1/b
  bool flat = false;  ///< a is 0 everywhere

  Axis() = default;
  Axis(int in, int out, bool align) : in(in), out(out) {
    const bool point = align && out < 2;  // one result, at the first pixel
    denominator = Divisor(uint32_t(align ? larger(out - 1, 1) : 2 * out));
    const int steps = point ? 0 : align ? in - 1 : 2 * in;
    offset = align ? 0 : in - out;
    flat = steps == 0;
    step = Divisor(uint32_t(larger(steps, 1)));
    factor = 1.0f / float(denominator.divisor);
  }

  struct At {
    int at, next;
    float weight;  // of next
  };
#ifdef FIGMENT_KERNELS
  FIGMENT_DEVICE At of(int i) const {
    const int a = flat ? 0 : max(i * int(step.divisor) + offset, 0);
    const auto whole = int(denominator.quotient(uint32_t(a)));
    const int at = min(whole, in - 1);
    return {at, min(at + 1, in - 1), float(a - at * int(denominator.divisor)) * factor};
  }
  /// The first result whose `at` is i or more: a ≥ i·b.
  FIGMENT_DEVICE int first(int i) const {
    if (i <= 0) return 0;
    if (i >= in || flat) return out;
    const int least = i * int(denominator.divisor) - offset;
    if (least <= 0) return 0;
    return min(int(step.quotient(uint32_t(least + int(step.divisor) - 1))), out);
  }
  FIGMENT_DEVICE float weight(int i, const At& tap) const {
    return (tap.at == i ? 1 - tap.weight : 0.0f) + (tap.next == i ? tap.weight : 0.0f);
  }
#endif
};

struct Resizing {
  Pixels to;
  Axis rows, columns;
  int c;
};

template <int V>
FIGMENT_KERNEL(kThreads)
bilinearKernel(Global<const float> x, Global<float> y, Resizing p) {
  const auto step = uint32_t(threadsOfGrid());
  for (auto item = uint32_t(threadInGrid()); item < p.to.count; item += step) {
    const Pixel at = p.to.at(item);
    const Axis::At row = p.rows.of(at.y), column = p.columns.of(at.x);
    const int above = (at.n * p.rows.in + row.at) * p.columns.in,
              below = (at.n * p.rows.in + row.next) * p.columns.in;
    const auto a = x.template load<Channels<V>>((above + column.at) * p.c + at.c);
    const auto b = x.template load<Channels<V>>((above + column.next) * p.c + at.c);
    const auto c = x.template load<Channels<V>>((below + column.at) * p.c + at.c);
    const auto d = x.template load<Channels<V>>((below + column.next) * p.c + at.c);
    Channels<V> result;
    FIGMENT_UNROLL
    for (int j = 0; j < V; j++) {
      const float upper = __fmaf_rn(b.v[j], column.weight, a.v[j] * (1 - column.weight));
      const float lower = __fmaf_rn(d.v[j], column.weight, c.v[j] * (1 - column.weight));
      result.v[j] = __fmaf_rn(lower, row.weight, upper * (1 - row.weight));
    }
    y.store(int(item) * V, result);
  }
}

template <int V>
FIGMENT_KERNEL(kThreads)
bilinearGradKernel(Global<const float> dy, Global<float> dx, Resizing p) {
  const auto step = uint32_t(threadsOfGrid());
  for (auto item = uint32_t(threadInGrid()); item < p.to.count; item += step) {
    const Pixel at = p.to.at(item);
    const int yBegin = p.rows.first(at.y - 1), yEnd = p.rows.first(at.y + 1);
    const int xBegin = p.columns.first(at.x - 1), xEnd = p.columns.first(at.x + 1);
    Channels<V> sum = {};
    for (int oy = yBegin; oy < yEnd; oy++) {
      const float rowWeight = p.rows.weight(at.y, p.rows.of(oy));
      const int row = (at.n * p.rows.out + oy) * p.columns.out;
      for (int ox = xBegin; ox < xEnd; ox++) {
        const float weight = rowWeight * p.columns.weight(at.x, p.columns.of(ox));
        const auto share = dy.template load<Channels<V>>((row + ox) * p.c + at.c);
        FIGMENT_UNROLL
        for (int j = 0; j < V; j++) sum.v[j] = __fmaf_rn(weight, share.v[j], sum.v[j]);
      }
    }
    dx.store(int(item) * V, sum);
  }
}

template <class P, auto four, auto one>
void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const P& p = call.as<P>();
  const int64_t* out = call.out[0].dims;
  const int lanes = channelsAtOnce(call, p.c, 1);
  const bool align = p.alignCorners != 0;
  const Resizing resizing = {Pixels(out[0], out[1], out[2], out[3], lanes), Axis(p.h, p.ho, align),
                             Axis(p.w, p.wo, align), p.c};
  const Grid grid = gridFor(launcher, resizing.to.count, kThreads);
  const auto x = viewOf<const float>(call.in[0]);
  const auto y = viewOf<float>(call.out[0]);
  if (lanes == 4)
    launch<four>(launcher, grid, kThreads, 0, x, y, resizing);
  else
    launch<one>(launcher, grid, kThreads, 0, x, y, resizing);
}

/// The fractions' parts are counted with 31 bits.
template <class P>
int supports(const OpCall& call) {
  const P& p = call.as<P>();
  const bool small = (2.0 * p.h + 2) * (2.0 * p.ho + 2) < 2147483647.0 &&
                     (2.0 * p.w + 2) * (2.0 * p.wo + 2) < 2147483647.0;
  return small ? supportsF32Images(call) : -1;
}

const RegisterVariant registerBilinear{
    {.op = "resizeBilinear",
     .name = "vector",
     .isa = Isa::sm75,
     .supports = supports<ResizeBilinearParams>,
     .scratch = nullptr,
     .run = run<ResizeBilinearParams, bilinearKernel<4>, bilinearKernel<1>>}};
const RegisterVariant registerBilinearGrad{
    {.op = "resizeBilinearGrad",
     .name = "vector",
     .isa = Isa::sm75,
     .supports = supports<ResizeBilinearGradParams>,
     .scratch = nullptr,
     .run = run<ResizeBilinearGradParams, bilinearGradKernel<4>, bilinearGradKernel<1>>}};

}  // namespace
}  // namespace figment::cuda
