// upfirdn2d with 4×4 filters, upsampling by 2, downsampling by 2 or neither, as StyleGAN has them:
// a thread makes four neighbouring pixels of a row of the result, so that it loads each element of
// the image once for all that it goes into. With UP and DOWN the factors, the element m after the
// first meets tap PHASE + UP·m − DOWN·j of result j, where PHASE is the first tap of result 0.
#include "small.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kTaps = 4;
constexpr int kStrip = 4;

struct Strips {
  Pixels to;  // x counts strips
  int h, w, c, ho, wo, padY, padX;
  bool flip;
};

template <int V, int UP, int DOWN, int PHASE>
FIGMENT_KERNEL(kThreads)
stripKernel(Global<const float> x, Global<const float> filter, Global<float> y, Strips p) {
  // As it is correlated with the image.
  FIGMENT_SHARED(float, taps, kTaps* kTaps);
  constexpr int kAll = kTaps * kTaps;
  if (int(threadIdx.x) < kAll)
    taps[int(threadIdx.x)] = filter[p.flip ? int(threadIdx.x) : kAll - 1 - int(threadIdx.x)];
  __syncthreads();

  constexpr int kElements = ((kStrip - 1) * DOWN + kTaps - 1 - PHASE) / UP + 1;
  const auto step = uint32_t(threadsOfGrid());
  for (auto item = uint32_t(threadInGrid()); item < p.to.count; item += step) {
    const Pixel at = p.to.at(item);
    const int x0 = at.x * kStrip, columns = (x0 * DOWN - p.padX + PHASE) / UP;
    const int top = at.y * DOWN - p.padY, phase = UP == 1 ? 0 : top & 1;
    const int rows = (top + phase) / UP;
    Channels<V> sums[kStrip] = {};
    FIGMENT_UNROLL
    for (int i = 0; i < kTaps / UP; i++) {
      const int iy = rows + i;
      if (iy < 0 || iy >= p.h) continue;
      const float4 weights = taps.template load<float4>(kTaps * (phase + UP * i));
      const float row[kTaps] = {weights.x, weights.y, weights.z, weights.w};
      const int from = (at.n * p.h + iy) * p.w;
      Channels<V> elements[kElements] = {};
      FIGMENT_UNROLL
      for (int m = 0; m < kElements; m++) {
        const int ix = columns + m;
        if (ix >= 0 && ix < p.w)
          elements[m] = x.template load<Channels<V>>((from + ix) * p.c + at.c);
      }
      FIGMENT_UNROLL
      for (int m = 0; m < kElements; m++) {
        FIGMENT_UNROLL
        for (int j = 0; j < kStrip; j++) {
          const int k = PHASE + UP * m - DOWN * j;
          if (k < 0 || k >= kTaps) continue;
          FIGMENT_UNROLL
          for (int lane = 0; lane < V; lane++)
            sums[j].v[lane] = __fmaf_rn(row[k], elements[m].v[lane], sums[j].v[lane]);
        }
      }
    }
    const int to = (at.n * p.ho + at.y) * p.wo + x0;
    FIGMENT_UNROLL
    for (int j = 0; j < kStrip; j++)
      if (x0 + j < p.wo) y.store((to + j) * p.c + at.c, sums[j]);
  }
}

template <int V>
void runAs(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<Upfirdn2dParams>();
  const Strips strips = {Pixels(p.n, p.ho, ceilDiv(int64_t(p.wo), int64_t(kStrip)), p.c, V),
                         p.h,
                         p.w,
                         p.c,
                         p.ho,
                         p.wo,
                         p.padLo[0],
                         p.padLo[1],
                         p.flip != 0};
  const Grid grid = gridFor(launcher, strips.to.count, kThreads);
  const auto with = [&]<auto kernel>() {
    launch<kernel>(launcher, grid, kThreads, 0, viewOf<const float>(call.in[0]),
                   viewOf<const float>(call.in[1]), viewOf<float>(call.out[0]), strips);
  };
  // Strips begin at multiples of four: the phase is the padding's alone.
  if (p.down[0] == 2) return with.template operator()<stripKernel<V, 1, 2, 0>>();
  if (p.up[0] == 1) return with.template operator()<stripKernel<V, 1, 1, 0>>();
  if (p.padLo[1] % 2 == 0) return with.template operator()<stripKernel<V, 2, 1, 0>>();
  return with.template operator()<stripKernel<V, 2, 1, 1>>();
}

void run(const OpCall& call, Context& context) {
  if (channelsAtOnce(call, call.as<Upfirdn2dParams>().c, 1) == 4)
    runAs<4>(call, launcherOf(context));
  else
    runAs<1>(call, launcherOf(context));
}

int supports(const OpCall& call) {
  const auto& p = call.as<Upfirdn2dParams>();
  const bool square =
      p.kh == kTaps && p.kw == kTaps && p.up[0] == p.up[1] && p.down[0] == p.down[1];
  const bool factors = p.up[0] * int64_t(p.down[0]) <= 2;
  return square && factors && smallFilter(call) ? kSpecialPreference : -1;
}

const RegisterVariant registrar{{.op = "upfirdn2d",
                                 .name = "strip",
                                 .isa = Isa::sm75,
                                 .supports = supports,
                                 .scratch = nullptr,
                                 .run = run}};

}  // namespace
}  // namespace figment::cuda
