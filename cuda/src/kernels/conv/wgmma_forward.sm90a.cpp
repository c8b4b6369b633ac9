// conv2d on Hopper's tensor cores as an implicit product: rows are positions of the result, whose
// pixels the copy engine gathers tap by tap, with zeros for the padding.
#include "wgmma_window.h"

namespace figment::cuda::wgmma {
namespace {

Extent extentOf(const Conv2dParams& p) {
  return {.rows = int64_t(p.n) * p.ho * p.wo,
          .columns = p.o,
          .batch = 1,
          .steps = int64_t(p.kh) * p.kw * ceilDiv(p.c, kTileDepth)};
}

int supports(const OpCall& call) {
  const auto& p = call.as<Conv2dParams>();
  if (!walkable(p, call) || !walkable(forwardAxis(p, 0), forwardAxis(p, 1)) ||
      !countable(extentOf(p)) || (p.addend && p.o % 8 != 0))
    return -1;
  return preferenceFor(p.c, double(extentOf(p).rows) * p.o);
}

size_t scratch(const OpCall& call, int) {
  const Extent extent = extentOf(call.as<Conv2dParams>());
  return partialBytes(planFor(extent), extent, extent.columns);
}

void run(const OpCall& call, Context& context) {
  const auto& p = call.as<Conv2dParams>();
  const Operand &image = call.in[0], &weights = call.in[1];
  if (!mappable(image.data) || !mappable(weights.data) || !addsAligned<Conv2dParams>(call))
    return runPlainly("conv2d", call, context);
  const bool half = image.format == Format::f16;
  const Extent extent = extentOf(p);
  const Plan plan = planFor(extent);
  const Axis y = forwardAxis(p, 0), x = forwardAxis(p, 1);

  Work work;
  arrange(work, plan, extent);
  work.chunks = int(ceilDiv(p.c, kTileDepth));
  work.b = Source::weights;
  Maps maps;
  if (pointwise(p)) {
    maps.a[0] = matrixMap(image, p.c, extent.rows, kTileRows);
  } else {
    maps.a[0] = pixelMap(image.data, half, pixelsOf(y, x, p.n, p.c), kTileRows);
    work.a = Source::pixels;
    work.phases[0].window = windowOf(y, x, p.kw);
  }
  maps.b = weightsMap(weights, p, plan.tileColumns);
  work.results = resultsAt(call.out[0], p.o, p.o);
  finish<Conv2dParams>(work, call);
  Launcher& launcher = launcherOf(context);
  wgmma::run(launcher, half, false, false, plan, maps, work, launcher.scratch());
}

const RegisterVariant registrar{variant("conv2d", supports, scratch, run)};

}  // namespace
}  // namespace figment::cuda::wgmma
