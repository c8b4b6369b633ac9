// groupNorm of groups that the shared memory of a cluster of up to eight blocks holds: they
// exchange moments through it.
#include <cooperative_groups.h>

#include "group_resident.h"
#include "group_split.h"

namespace figment::cuda {
namespace {

/// Two blocks on one multiprocessor, of which one reads while the other writes; or one.
constexpr int64_t kComfortable = 112 * 1024, kBudget = 226 * 1024;
constexpr int kMostRanks = 8;

ResidentPlan planOf(const OpCall& call) {
  return ResidentPlan(call, kMostRanks, kComfortable, kBudget);
}

template <int ranks>
struct Cluster {
  static constexpr int kRanks = ranks;
  FIGMENT_DEVICE static int rank() { return int(cooperative_groups::this_cluster().block_rank()); }
  FIGMENT_DEVICE static void sync() { cooperative_groups::this_cluster().sync(); }
  FIGMENT_DEVICE static float read(const Shared<float>& from, int i, int of) {
    return *cooperative_groups::this_cluster().map_shared_rank(from.pointer(i), unsigned(of));
  }
};

template <int N, int ranks>
FIGMENT_KERNEL(kResidentThreads)
__cluster_dims__(ranks, 1, 1) clusterKernel(Resident k) {
  normaliseResident<N, Cluster<ranks>>(k);
}

int supports(const OpCall& call) {
  return supportsFloats(call) > 0 && planOf(call).ranks > 0 ? 30 : -1;
}

template <int N>
void runAs(const ResidentPlan& plan, const Resident& k, Launcher& launcher) {
  const Grid grid{k.call.shape.n * k.runs * plan.ranks};
  const size_t bytes = size_t(plan.sharedBytes);
  switch (plan.ranks) {
    case 1:
      return launch<clusterKernel<N, 1>>(launcher, grid, kResidentThreads, bytes, k);
    case 2:
      return launch<clusterKernel<N, 2>>(launcher, grid, kResidentThreads, bytes, k);
    case 4:
      return launch<clusterKernel<N, 4>>(launcher, grid, kResidentThreads, bytes, k);
    default:
      return launch<clusterKernel<N, 8>>(launcher, grid, kResidentThreads, bytes, k);
  }
}

void run(const OpCall& call, Context& context) {
  const ResidentPlan plan = planOf(call);
  Resident k;
  if (!residentOf(call, plan, k)) return splitGroupNorm(call, context);
  if (plan.vector == 8)
    runAs<8>(plan, k, launcherOf(context));
  else
    runAs<4>(plan, k, launcherOf(context));
}

const RegisterVariant registrar{{.op = "groupNorm",
                                 .name = "resident-cluster",
                                 .isa = Isa::sm90a,
                                 .supports = supports,
                                 .scratch = splitGroupNormScratch,
                                 .run = run}};

}  // namespace
}  // namespace figment::cuda
