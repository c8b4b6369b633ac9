// conv2dInputGrad on Hopper's tensor cores: for each phase of the stride a convolution of the
// result's gradient, stride 1, with the taps that reach that phase; a few phases are the batches of
// one launch. The weights are read as they lie: a tap's [o, c] is a factor across k.
#include <algorithm>

#include "wgmma_window.h"

namespace figment::cuda::wgmma {
namespace {

/// Phases that one launch computes.
struct Group {
  int count = 0;
  Axis y[kMostPhases], x[kMostPhases];
  int64_t rows[kMostPhases], steps[kMostPhases];
  Extent extent = {};  ///< of the largest phase, for each of them
};

/// Calls f(group) for all phases.
template <class F>
void forGroups(const Conv2dInputGradParams& p, F&& f) {
  const int64_t across = std::min(p.stride[1], p.w), phases = std::min(p.stride[0], p.h) * across;
  for (int64_t first = 0; first < phases; first += kMostPhases) {
    Group group;
    group.count = int(std::min<int64_t>(phases - first, kMostPhases));
    group.extent = {.rows = 0, .columns = p.c, .batch = group.count, .steps = 0};
    for (int i = 0; i < group.count; i++) {
      const Axis& y = group.y[i] = inputGradAxis(p, 0, (first + i) / across);
      const Axis& x = group.x[i] = inputGradAxis(p, 1, (first + i) % across);
      group.rows[i] = int64_t(p.n) * y.positions * x.positions;
      group.steps[i] = y.taps * x.taps * ceilDiv(p.o, kTileDepth);
      group.extent.rows = std::max(group.extent.rows, group.rows[i]);
      group.extent.steps = std::max(group.extent.steps, group.steps[i]);
    }
    f(group);
  }
}

int supports(const OpCall& call) {
  const auto& p = call.as<Conv2dInputGradParams>();
  if (!walkable(p, call) || p.o % 8 != 0 || int64_t(p.stride[0]) * p.stride[1] > 16) return -1;
  bool possible = true;
  forGroups(p, [&](const Group& group) {
    possible = possible && countable(group.extent);
    for (int i = 0; i < group.count; i++)
      possible = possible && (group.steps[i] == 0 || walkable(group.y[i], group.x[i]));
  });
  const double results = double(p.n) * p.h * p.w * p.c;
  return possible ? preferenceFor(p.o, results) : -1;
}

size_t scratch(const OpCall& call, int) {
  size_t most = 0;
  forGroups(call.as<Conv2dInputGradParams>(), [&](const Group& group) {
    most = std::max(most, partialBytes(planFor(group.extent), group.extent, group.extent.columns));
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
  const int64_t line = int64_t(p.w) * p.c;
  forGroups(p, [&](const Group& group) {
    const Plan plan = planFor(group.extent);
    Work work;
    arrange(work, plan, group.extent);
    work.phased = 1;
    work.chunks = int(ceilDiv(p.o, kTileDepth));
    work.a = pointwise(p) ? Source::matrix : Source::pixels;
    work.b = Source::weights;
    Maps maps;
    for (int i = 0; i < group.count; i++) {
      const Axis &y = group.y[i], &x = group.x[i];
      // Of a phase without steps nothing is read.
      maps.a[i] = pointwise(p) || group.steps[i] == 0
                      ? matrixMap(gradient, p.o, int64_t(p.n) * p.ho * p.wo, kTileRows)
                      : pixelMap(gradient.data, half, pixelsOf(y, x, p.n, p.o), kTileRows);
      work.phases[i] = {.rows = int(group.rows[i]),
                        .steps = int(group.steps[i]),
                        .window = windowOf(y, x, p.kw),
                        .first = y.origin * line + x.origin * p.c};
    }
    maps.b = weightsMap(weights, p, kTileDepth);
    work.results = resultsAt(call.out[0], p.c, p.c);
    work.results.placed = 1;
    work.results.imageStride = p.h * line;
    work.results.yStride = p.stride[0] * line;
    work.results.xStride = int64_t(p.stride[1]) * p.c;
    wgmma::run(launcher, half, false, true, plan, maps, work, launcher.scratch());
  });
}

const RegisterVariant registrar{variant("conv2dInputGrad", supports, scratch, run)};

}  // namespace
}  // namespace figment::cuda::wgmma
