// conv2dInputGrad on Hopper's tensor cores: for each phase of the stride a convolution of the
// result's gradient, stride 1, with the taps that reach that phase. The weights are read as they
// lie: a tap's [o, c] is a factor across k.
#include <algorithm>

#include "wgmma_window.h"

namespace figment::cuda::wgmma {
namespace {

constexpr int64_t kMostPhases = 16;

/// Calls f(y, x, extent) for each phase.
template <class F>
void forPhases(const Conv2dInputGradParams& p, F&& f) {
  for (int64_t i = 0; i < std::min(p.stride[0], p.h); i++)
    for (int64_t j = 0; j < std::min(p.stride[1], p.w); j++) {
      const Axis y = inputGradAxis(p, 0, i), x = inputGradAxis(p, 1, j);
      f(y, x,
        Extent{.rows = int64_t(p.n) * y.positions * x.positions,
               .columns = p.c,
               .batch = 1,
               .steps = y.taps * x.taps * ceilDiv(p.o, kTileDepth)});
    }
}

int supports(const OpCall& call) {
  const auto& p = call.as<Conv2dInputGradParams>();
  if (!walkable(p, call) || p.o % 8 != 0 || int64_t(p.stride[0]) * p.stride[1] > kMostPhases)
    return -1;
  bool possible = true;
  forPhases(p, [&](const Axis& y, const Axis& x, const Extent& extent) {
    possible = possible && countable(extent) && (extent.steps == 0 || walkable(y, x));
  });
  const double results = double(p.n) * p.h * p.w * p.c;
  return possible ? preferenceFor(p.o, results) : -1;
}

size_t scratch(const OpCall& call, int) {
  size_t most = 0;
  forPhases(call.as<Conv2dInputGradParams>(), [&](const Axis&, const Axis&, const Extent& extent) {
    most = std::max(most, partialBytes(planFor(extent), extent, extent.columns));
  });
  return most;
}

void run(const OpCall& call, Context& context) {
  const auto& p = call.as<Conv2dInputGradParams>();
  const Operand &gradient = call.in[0], &weights = call.in[1];
  if (!mappable(gradient.data) || !mappable(weights.data))
    return runPlainly("conv2dInputGrad", call, context);
  const bool half = gradient.format == Format::f16;
  Launcher& launcher = launcherOf(context);
  forPhases(p, [&](const Axis& y, const Axis& x, const Extent& extent) {
    const Plan plan = planFor(extent);
    Work work;
    arrange(work, plan, extent);
    work.chunks = int(ceilDiv(p.o, kTileDepth));
    work.b = Source::weights;
    Maps maps;
    if (pointwise(p) || extent.steps == 0) {
      maps.a = matrixMap(gradient, p.o, int64_t(p.n) * p.ho * p.wo, kTileRows);
    } else {
      maps.a = pixelMap(gradient.data, half, pixelsOf(y, x, p.n, p.o), kTileRows);
      work.a = Source::pixels;
      work.window = windowOf(y, x, p.kw);
    }
    maps.b = weightsMap(weights, p, kTileDepth);
    const int64_t line = int64_t(p.w) * p.c;
    Operand out = call.out[0];
    out.data = static_cast<std::byte*>(out.data) +
               (y.origin * line + x.origin * p.c) * int64_t(formatBytes(out.format));
    work.results = resultsAt(out, p.c, p.c);
    work.results.width = int(x.positions);
    work.results.height = int(y.positions);
    work.results.imageStride = p.h * line;
    work.results.yStride = y.outStep * line;
    work.results.xStride = x.outStep * p.c;
    wgmma::run(launcher, half, false, true, plan, maps, work, launcher.scratch());
  });
}

const RegisterVariant registrar{{.op = "conv2dInputGrad",
                                 .name = "wgmma",
                                 .isa = Isa::sm90a,
                                 .supports = supports,
                                 .scratch = scratch,
                                 .run = run}};

}  // namespace
}  // namespace figment::cuda::wgmma
