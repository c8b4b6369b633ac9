// How the Hopper kernel cuts its work into tiles, and its launch. Host code.
#pragma once

#include "../../device/four.h"
#include "../../runtime/launcher.h"
#include "tensor_map.h"
#include "wgmma_work.h"

namespace figment::cuda::wgmma {

/// Of the kernels for Hopper among an operation's variants: for work whose k comes in pieces of so
/// many, each of which is filled up to 64, and which has so many results. Little work leaves most
/// of a tile empty.
constexpr int preferenceFor(int64_t depth, double results) {
  constexpr int kPreference = 30, kOfLittle = 12;
  const bool little =
      ceilDiv(depth, int64_t(kTileDepth)) * kTileDepth > 2 * depth || results < 64 * 64;
  return little ? kOfLittle : kPreference;
}

/// The shape of the work, of which the plan is a pure function.
struct Extent {
  int64_t rows, columns, batch, steps;
  /// Columns in whole groups of 64 only.
  bool grouped = false;
};
struct Plan {
  int tileColumns = 0;
  int splits = 1;
  int stepsEach = 0;
};
/// Whether the kernel can count it.
bool countable(const Extent& extent);
/// The fastest by estimate; sums are split where there are too few tiles for the device.
Plan planFor(const Extent& extent);
#ifdef FIGMENT_WATCHDOG
/// What planFor answers instead, for measurements, where it has columns and fits the work.
extern Plan forcedPlan;
#endif
/// Bytes that the sums of the splits take.
size_t partialBytes(const Plan& plan, const Extent& extent, int64_t resultColumns);

/// Fills in the counts of `work` that follow from the plan.
void arrange(Work& work, const Plan& plan, const Extent& extent);
/// Queues the products and, where sums are split, their reduction. `partials` is scratch of
/// partialBytes. Where the first factor lies across k, the second one does too: layers and their
/// derivatives have no other products.
void run(Launcher& launcher, bool half, bool acrossA, bool acrossB, const Plan& plan,
         const Maps& maps, const Work& work, std::byte* partials);

/// Formats that the kernel multiplies and stores.
bool factorFormats(const OpCall& call);
/// The results of an operation that lie as rows of `channels` elements.
Results resultsAt(const Operand& out, int64_t channels, int64_t rowStride);
/// Whether the kernel can read the addend, whose rows are multiples of eight elements.
template <class P>
bool addsAligned(const OpCall& call) {
  const Operand* addend = EpilogueOperands::of<P>(call).addend;
  return !addend || startsAligned(*addend);
}
/// Says what becomes of the sums.
template <class P>
void finish(Work& work, const OpCall& call) {
  static_cast<Finishing<float>&>(work) = Finishing<float>::of<P>(call);
}
constexpr Variant variant(const char* op, int (*supports)(const OpCall&),
                          size_t (*scratch)(const OpCall&, int),
                          void (*run)(const OpCall&, Context&)) {
  return {.op = op,
          .name = "wgmma",
          .isa = Isa::sm90a,
          .supports = supports,
          .scratch = scratch,
          .run = run};
}
/// Runs the operation's plain variant: for operands at addresses that the copy engine does not
/// take.
void runPlainly(const char* op, const OpCall& call, Context& context);

/// In the files of each format.
template <class T>
void launchTiles(Launcher& launcher, bool acrossA, bool acrossB, int tileColumns, const Maps& maps,
                 const Work& work);
/// Adds up the splits' sums, which lie one behind the other in `partials`, into `work.results`.
void launchReduction(Launcher& launcher, const Work& work, const float* partials, int64_t columns);

}  // namespace figment::cuda::wgmma
