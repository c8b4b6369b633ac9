// Gradients of groupNorm and batchNorm of groups that the registers of a cluster's blocks hold.
#include "cluster.h"
#include "group_held_grad.h"

namespace figment::cuda {
namespace {

constexpr int kMostRanks = 8;

template <int N, int ranks>
FIGMENT_KERNEL_OCCUPIED(kGradThreads, 2)
__cluster_dims__(ranks, 1, 1) gradKernel(HeldGrad k) {
  differentiateHeld<N, kManyGradFloats, Cluster<ranks>>(k);
}

/// What one block holds is left to it, unless that has narrow runs.
template <class Call>
int supports(const OpCall& call) {
  if (supportsFloats(call) < 0) return -1;
  return gradPlanOf<kMostRanks>(call, Call::of(call).shape).ranks > 1 ? 30 : -1;
}

template <class Call>
void run(const OpCall& call, Context& context) {
  runHeldGrad<Call, kMostRanks>(
      call, context, [&]<int N, int>(const HeldGradPlan& plan, const HeldGrad& k) {
        const auto start = [&]<int ranks>() {
          launch<gradKernel<N, ranks>>(launcherOf(context),
                                       Grid{k.call.shape.n * k.run.ofSample * ranks},
                                       k.run.warps * kWarp, plan.sharedBytes(), k);
        };
        switch (plan.ranks) {
          case 2:
            return start.template operator()<2>();
          case 4:
            return start.template operator()<4>();
          default:
            return start.template operator()<8>();
        }
      });
}

const RegisterVariant group{{.op = "groupNormGrad",
                             .name = "held-cluster",
                             .isa = Isa::sm90a,
                             .supports = supports<GroupNormGradCall>,
                             .scratch = heldGradScratch<GroupNormGradCall, kMostRanks>,
                             .run = run<GroupNormGradCall>}};
const RegisterVariant batch{{.op = "batchNormGrad",
                             .name = "held-cluster",
                             .isa = Isa::sm90a,
                             .supports = supports<BatchNormGradCall>,
                             .scratch = heldGradScratch<BatchNormGradCall, kMostRanks>,
                             .run = run<BatchNormGradCall>}};

}  // namespace
}  // namespace figment::cuda
