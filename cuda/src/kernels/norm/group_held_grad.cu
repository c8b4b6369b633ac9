// Gradients of groupNorm and batchNorm of groups that one block's registers hold.
#include "group_held_grad.h"

namespace figment::cuda {
namespace {

template <int N, int kFloats>
FIGMENT_KERNEL_OCCUPIED(kGradThreads, 2)
gradKernel(HeldGrad k) {
  if (blockInGrid() >= k.call.shape.n * k.run.ofSample) return;
  differentiateHeld<N, kFloats, Alone>(k);
}

/// Runs of less than two sectors of memory are the cluster's first.
template <class Call>
int supports(const OpCall& call) {
  if (supportsFloats(call) < 0) return -1;
  const HeldGradPlan plan = gradPlanOf<1>(call, Call::of(call).shape);
  return plan.ranks == 0 || plan.bytes < 32 ? -1 : plan.bytes < 64 ? 20 : 40;
}

template <class Call>
void run(const OpCall& call, Context& context) {
  runHeldGrad<Call, 1>(call, context,
                       [&]<int N, int kFloats>(const HeldGradPlan& plan, const HeldGrad& k) {
                         launch<gradKernel<N, kFloats>>(launcherOf(context),
                                                        blocksFor(k.call.shape.n * k.run.ofSample),
                                                        k.run.warps * kWarp, plan.sharedBytes(), k);
                       });
}

const RegisterVariant group{{.op = "groupNormGrad",
                             .name = "held",
                             .isa = Isa::sm75,
                             .supports = supports<GroupNormGradCall>,
                             .scratch = heldGradScratch<GroupNormGradCall, 1>,
                             .run = run<GroupNormGradCall>}};
const RegisterVariant batch{{.op = "batchNormGrad",
                             .name = "held",
                             .isa = Isa::sm75,
                             .supports = supports<BatchNormGradCall>,
                             .scratch = heldGradScratch<BatchNormGradCall, 1>,
                             .run = run<BatchNormGradCall>}};

}  // namespace
}  // namespace figment::cuda
