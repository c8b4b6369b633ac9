// conv2dWeightGrad on Hopper's tensor cores: the product of the result's gradient, transposed, with
// the pixels that its positions read. k runs over all positions, so that the sums are split where
// the weights alone have too few tiles.
#include "wgmma_window.h"

namespace figment::cuda::wgmma {
namespace {

int64_t positionsOf(const Conv2dWeightGradParams& p) { return int64_t(p.n) * p.ho * p.wo; }
int64_t tapsOf(const Conv2dWeightGradParams& p) { return int64_t(p.kh) * p.kw; }

Extent extentOf(const Conv2dWeightGradParams& p) {
  return {.rows = p.o,
          .columns = tapsOf(p) * ceilDiv(p.c, kGroup) * kGroup,
          .batch = 1,
          .steps = ceilDiv(positionsOf(p), int64_t(kTileDepth)),
          .grouped = true};
}

int supports(const OpCall& call) {
  const auto& p = call.as<Conv2dWeightGradParams>();
  if (!walkable(p, call) || p.o % 8 != 0 || !walkable(forwardAxis(p, 0), forwardAxis(p, 1)) ||
      !countable(extentOf(p)))
    return -1;
  return preferenceFor(p.c, double(p.o) * double(tapsOf(p)) * p.c);
}

size_t scratch(const OpCall& call, int) {
  const auto& p = call.as<Conv2dWeightGradParams>();
  const Extent extent = extentOf(p);
  return partialBytes(planFor(extent), extent, tapsOf(p) * p.c);
}

void run(const OpCall& call, Context& context) {
  const auto& p = call.as<Conv2dWeightGradParams>();
  const Operand &image = call.in[0], &gradient = call.in[1];
  if (!mappable(image.data) || !mappable(gradient.data))
    return runPlainly("conv2dWeightGrad", call, context);
  const bool half = image.format == Format::f16;
  const Extent extent = extentOf(p);
  const Plan plan = planFor(extent);
  const Axis y = forwardAxis(p, 0), x = forwardAxis(p, 1);

  Work work;
  arrange(work, plan, extent);
  work.chunks = work.steps;
  Maps maps;
  maps.a[0] = matrixMap(gradient, p.o, positionsOf(p), kTileDepth);
  if (pointwise(p)) {
    maps.b = matrixMap(image, p.c, positionsOf(p), kTileDepth);
  } else {
    maps.b = pixelMap(image.data, half, pixelsOf(y, x, p.n, p.c), kTileDepth);
    work.b = Source::pixels;
  }
  work.phases[0].window = windowOf(y, x, p.kw);
  work.results = resultsAt(call.out[0], p.c, tapsOf(p) * p.c);
  Launcher& launcher = launcherOf(context);
  wgmma::run(launcher, half, true, true, plan, maps, work, launcher.scratch());
}

const RegisterVariant registrar{variant("conv2dWeightGrad", supports, scratch, run)};

}  // namespace
}  // namespace figment::cuda::wgmma
