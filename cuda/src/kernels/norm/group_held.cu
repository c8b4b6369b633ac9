// groupNorm of groups that one block's registers hold.
#include "group_held.h"
#include "group_split.h"

namespace figment::cuda {
namespace {

/// Two blocks or more on a multiprocessor, of which one reads while the other writes.
template <int N, int kFloats>
FIGMENT_KERNEL_OCCUPIED(kHeldThreads, kFloats == kFewFloats ? 3 : 2)
heldKernel(Held k) {
  if (blockInGrid() >= k.call.shape.n * k.run.ofSample) return;
  normaliseHeld<N, kFloats, Alone>(k);
}

int supports(const OpCall& call) {
  return supportsFloats(call) > 0 && HeldPlan(call, 1).ranks > 0 ? 40 : -1;
}

void run(const OpCall& call, Context& context) {
  const HeldPlan plan(call, 1);
  Held k;
  if (!heldOf(call, plan, k)) return splitGroupNorm(call, context);
  Launcher& launcher = launcherOf(context);
  const Grid grid = blocksFor(k.call.shape.n * k.run.ofSample);
  const int threads = k.run.warps * kWarp;
  const size_t bytes = plan.sharedBytes();
  const bool few = plan.floats == kFewFloats;
  if (plan.vector == 8 && few)
    return launch<heldKernel<8, kFewFloats>>(launcher, grid, threads, bytes, k);
  if (plan.vector == 8)
    return launch<heldKernel<8, kManyFloats>>(launcher, grid, threads, bytes, k);
  if (few) return launch<heldKernel<4, kFewFloats>>(launcher, grid, threads, bytes, k);
  launch<heldKernel<4, kManyFloats>>(launcher, grid, threads, bytes, k);
}

const RegisterVariant registrar{{.op = "groupNorm",
                                 .name = "held",
                                 .isa = Isa::sm75,
                                 .supports = supports,
                                 .scratch = splitGroupNormScratch,
                                 .run = run}};

}  // namespace
}  // namespace figment::cuda
