#include "wgmma_plan.h"

#include "kernels/registry.h"
#include "runtime/error.h"

namespace figment::cuda::wgmma {
namespace {

/// What the estimates take every device with these kernels to be, so that plans, and with them the
/// order of sums, do not depend on it.
constexpr int64_t kBlocks = 132;
constexpr double kBytesPerMicrosecond = 3e6;
/// Microseconds: of one step of a tile, of a tile's begin and end, and of the reduction's launch.
struct Width {
  int columns;
  double step, tile;
};
constexpr Width kWidths[] = {{256, 0.70, 2.6}, {160, 0.52, 2.0}, {128, 0.45, 1.8}, {64, 0.36, 1.4}};
constexpr double kReduction = 2.5;
constexpr int64_t kMostSplits = 64;
constexpr int64_t kFewestSteps = 4;
constexpr double kMostPartialBytes = 256e6;

int64_t tilesOf(const Extent& extent, int columns) {
  return ceilDiv(extent.rows, int64_t(kTileRows)) * ceilDiv(extent.columns, int64_t(columns)) *
         extent.batch;
}

bool sixteenBits(Format format) { return format == Format::bf16 || format == Format::f16; }

}  // namespace

#ifdef FIGMENT_WATCHDOG
Plan forcedPlan;
#endif

bool countable(const Extent& extent) {
  constexpr double kMost = 2147480000;
  const double tiles = double(ceilDiv(extent.rows, int64_t(kTileRows))) *
                       double(ceilDiv(extent.columns, int64_t(64))) * double(extent.batch);
  return double(extent.rows) + 256 < kMost && double(extent.columns) + 256 < kMost &&
         double(extent.steps) * kTileDepth < kMost && tiles * double(kMostSplits) < kMost;
}

Plan planFor(const Extent& extent) {
#ifdef FIGMENT_WATCHDOG
  if (forcedPlan.tileColumns != 0) {
    Plan plan = forcedPlan;
    plan.stepsEach = int(ceilDiv(extent.steps, int64_t(plan.splits)));
    plan.splits = plan.stepsEach == 0 ? 1 : int(ceilDiv(extent.steps, int64_t(plan.stepsEach)));
    return plan;
  }
#endif
  Plan best;
  double bestTime = 0;
  for (const Width& width : kWidths) {
    if (extent.grouped && width.columns % kGroup != 0) continue;
    const int64_t tiles = tilesOf(extent, width.columns);
    for (int64_t wish = 1; wish <= kMostSplits; wish++) {
      const int64_t each = extent.steps < wish ? 1 : ceilDiv(extent.steps, wish);
      const int64_t splits = extent.steps == 0 ? 1 : ceilDiv(extent.steps, each);
      if (splits != wish || (splits > 1 && each < kFewestSteps)) continue;
      const double sums = double(extent.rows) * double(extent.columns) * double(extent.batch) * 4;
      if (splits > 1 && sums * double(splits) > kMostPartialBytes) break;
      const double waves = double(ceilDiv(tiles * splits, kBlocks));
      double time = waves * (double(each) * width.step + width.tile);
      if (splits > 1) time += kReduction + sums * 2 * double(splits) / kBytesPerMicrosecond;
      if (best.tileColumns == 0 || time < bestTime) {
        best = {width.columns, int(splits), int(each)};
        bestTime = time;
      }
    }
  }
  return best;
}

size_t partialBytes(const Plan& plan, const Extent& extent, int64_t resultColumns) {
  if (plan.splits == 1) return 0;
  return size_t(plan.splits) * size_t(extent.batch) * size_t(extent.rows) * size_t(resultColumns) *
         sizeof(float);
}

void arrange(Work& work, const Plan& plan, const Extent& extent) {
  work.rows = int(extent.rows);
  work.columns = int(extent.columns);
  work.batch = int(extent.batch);
  work.steps = int(extent.steps);
  work.phases[0].rows = work.rows;
  work.phases[0].steps = work.steps;
  work.rowTiles = int(ceilDiv(extent.rows, int64_t(kTileRows)));
  work.columnTiles = int(ceilDiv(extent.columns, int64_t(plan.tileColumns)));
  work.splits = plan.splits;
  work.stepsEach = plan.stepsEach;
}

void run(Launcher& launcher, bool half, bool acrossA, bool acrossB, const Plan& plan,
         const Maps& maps, const Work& work, std::byte* partials) {
  Work products = work;
  const int64_t columns =
      int64_t(work.results.channels) * ceilDiv(work.columns, work.results.tapGroups * kGroup);
  if (plan.splits > 1) {
    // Sums alone, row by row; the reduction does the rest.
    Results& sums = products.results;
    sums = {.data = partials,
            .format = Format::f32,
            .wide = work.results.channels % 8 == 0,
            .channels = work.results.channels,
            .tapGroups = work.results.tapGroups,
            .rowStride = columns,
            .batchStride = work.rows * columns,
            .splitStride = work.batch * work.rows * columns};
    static_cast<Finishing<float>&>(products) = {};
  }
  half ? launchTiles<F16>(launcher, acrossA, acrossB, plan.tileColumns, maps, products)
       : launchTiles<Bf16>(launcher, acrossA, acrossB, plan.tileColumns, maps, products);
  if (plan.splits > 1)
    launchReduction(launcher, work, reinterpret_cast<const float*>(partials), columns);
}

bool factorFormats(const OpCall& call) {
  return sixteenBits(call.in[0].format) && call.in[0].format == call.in[1].format &&
         (call.out[0].format == Format::f32 || sixteenBits(call.out[0].format));
}

Results resultsAt(const Operand& out, int64_t channels, int64_t rowStride) {
  const bool aligned = startsAligned(out);
  return {.data = out.data,
          .format = out.format,
          .wide = aligned && channels % 8 == 0 && rowStride % 8 == 0,
          .channels = int(channels),
          .tapGroups = int(ceilDiv(channels, int64_t(kGroup))),
          .rowStride = rowStride};
}

void runPlainly(const char* op, const OpCall& call, Context& context) {
  for (const RegisteredVariant& variant : findOp(op)->variants)
    if (std::string_view(variant.name) == "plain") return variant.run(call, context);
  throw Error(code::kDevice, std::string(op) + ": no plain variant");
}

}  // namespace figment::cuda::wgmma
