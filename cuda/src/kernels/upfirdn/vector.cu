// upfirdn2d with several channels to a thread, any filter: only taps that meet an element of the
// image are visited, so that no zero is multiplied.
#include "small.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

/// One axis; see taps.h of the CPU's kernels.
struct TapAxis {
  Divisor up;
  int in, taps, down, pad;

  struct Taps {
    int first, at, count;  // taps first, first + up, … meet elements at, at + 1, …
  };
#ifdef FIGMENT_KERNELS
  FIGMENT_DEVICE Taps of(int i) const {
    const int origin = i * down - pad, step = int(up.divisor);
    const int at = int(up.quotient(uint32_t(max(origin, 0) + step - 1)));
    const int first = at * step - origin;
    if (first >= taps || at >= in) return {0, 0, 0};
    return {first, at, min(int(up.quotient(uint32_t(taps - 1 - first))) + 1, in - at)};
  }
#endif
};

struct Filtering {
  Pixels to;
  TapAxis rows, columns;
  int c;
  bool flip;
};

template <int V>
FIGMENT_KERNEL(kThreads)
upfirdnKernel(Global<const float> x, Global<const float> filter, Global<float> y, Filtering p) {
  const auto step = uint32_t(threadsOfGrid());
  const int upY = int(p.rows.up.divisor), upX = int(p.columns.up.divisor), width = p.columns.taps;
  const int last = p.rows.taps * width - 1;
  for (auto item = uint32_t(threadInGrid()); item < p.to.count; item += step) {
    const Pixel at = p.to.at(item);
    const TapAxis::Taps rows = p.rows.of(at.y), columns = p.columns.of(at.x);
    Channels<V> sum = {};
    for (int i = 0; i < rows.count; i++) {
      const int row = (at.n * p.rows.in + rows.at + i) * p.columns.in + columns.at;
      const int taps = (rows.first + i * upY) * width + columns.first;
      for (int j = 0; j < columns.count; j++) {
        const int tap = taps + j * upX;
        const float weight = filter[p.flip ? tap : last - tap];
        const auto value = x.template load<Channels<V>>((row + j) * p.c + at.c);
        FIGMENT_UNROLL
        for (int k = 0; k < V; k++) sum.v[k] = __fmaf_rn(weight, value.v[k], sum.v[k]);
      }
    }
    y.store(int(item) * V, sum);
  }
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const auto& p = call.as<Upfirdn2dParams>();
  const int lanes = channelsAtOnce(call, p.c, 1);
  const Filtering filtering = {Pixels(p.n, p.ho, p.wo, p.c, lanes),
                               {Divisor(uint32_t(p.up[0])), p.h, p.kh, p.down[0], p.padLo[0]},
                               {Divisor(uint32_t(p.up[1])), p.w, p.kw, p.down[1], p.padLo[1]},
                               p.c,
                               p.flip != 0};
  const Grid grid = gridFor(launcher, filtering.to.count, kThreads);
  const auto x = viewOf<const float>(call.in[0]), filter = viewOf<const float>(call.in[1]);
  const auto y = viewOf<float>(call.out[0]);
  if (lanes == 4)
    launch<upfirdnKernel<4>>(launcher, grid, kThreads, 0, x, filter, y, filtering);
  else
    launch<upfirdnKernel<1>>(launcher, grid, kThreads, 0, x, filter, y, filtering);
}

const RegisterVariant registrar{
    {.op = "upfirdn2d",
     .name = "vector",
     .isa = Isa::sm75,
     .supports = [](const OpCall& call) { return smallFilter(call) ? kVectorPreference : -1; },
     .scratch = nullptr,
     .run = run}};

}  // namespace
}  // namespace figment::cuda
