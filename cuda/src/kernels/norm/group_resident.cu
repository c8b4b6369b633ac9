// groupNorm of groups that one block's shared memory holds.
#include "group_resident.h"
#include "group_split.h"

namespace figment::cuda {
namespace {

/// What every GPU has, with room for four blocks on one multiprocessor of the larger ones.
constexpr int64_t kBudget = 56 * 1024;

ResidentPlan planOf(const OpCall& call) { return ResidentPlan(call, 1, kBudget, kBudget); }

template <int N>
FIGMENT_KERNEL(kResidentThreads)
residentKernel(Resident k) {
  normaliseResident<N, Alone>(k);
}

int supports(const OpCall& call) {
  return supportsFloats(call) > 0 && planOf(call).ranks > 0 ? 20 : -1;
}

void run(const OpCall& call, Context& context) {
  const ResidentPlan plan = planOf(call);
  Resident k;
  if (!residentOf(call, plan, k)) return splitGroupNorm(call, context);
  const Grid grid{k.call.shape.n * k.runs};
  if (plan.vector == 8)
    launch<residentKernel<8>>(launcherOf(context), grid, kResidentThreads, plan.sharedBytes, k);
  else
    launch<residentKernel<4>>(launcherOf(context), grid, kResidentThreads, plan.sharedBytes, k);
}

const RegisterVariant registrar{{.op = "groupNorm",
                                 .name = "resident",
                                 .isa = Isa::sm75,
                                 .supports = supports,
                                 .scratch = splitGroupNormScratch,
                                 .run = run}};

}  // namespace
}  // namespace figment::cuda
