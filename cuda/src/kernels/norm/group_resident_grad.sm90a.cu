// Gradients of groupNorm and batchNorm of groups that the shared memory of a block holds, or of a
// cluster of up to eight: x and dy are read once and dx written once.
#include "cluster.h"
#include "group_run_grad.h"

namespace figment::cuda {
namespace {

constexpr int kMostWarps = 8, kThreads = kMostWarps * kWarp;
/// Parts that a thread's copies arrive in.
constexpr int kStages = 4;

struct ResidentPlan : ClusterPlan {
  /// Three blocks on one multiprocessor, of which some read while others write.
  ResidentPlan(const NormShape& shape, Format x, Format dy)
      : ClusterPlan(shape, x,
                    {.mostWarps = kMostWarps,
                     .vectors = 4,
                     .comfortable = 75 * 1024,
                     .narrow = 75 * 1024,
                     .vectorBytes = 32,
                     .floats = RunGrad::floats}) {
    if (vector * formatBytes(dy) != 16) ranks = 0;
  }
};

template <int N>
FIGMENT_KERNEL_OCCUPIED(kThreads, N == 4 ? 3 : 2)
residentGradKernel(RunGrad k) {
  FIGMENT_DYNAMIC_SHARED(dynamic);
  const NormBackward<float>& call = k.call;
  const NormShape& shape = call.shape;
  const Run& run = k.run;
  const int vectors = int(run.pixels) * run.across;
  const auto heldX = dynamic.template view<uint4>(0, vectors);
  const auto heldDy = dynamic.template view<uint4>(vectors * 16, vectors);
  const auto parts = dynamic.template view<float>(vectors * 32, RunGrad::floats(run));

  const RunPlace<N> place(run);
  const RunPart part(run, shape, Cluster{});
  const int down = run.down(), turns = ceilDiv(part.held, down);
  const int64_t first = (part.sample * shape.spatial + part.firstPixel + place.row) * shape.c +
                        part.run * run.channels + place.column * N;
  const int64_t step = int64_t(down) * shape.c;
  const int at = place.row * run.across + place.column, stride = down * run.across;
  const auto there = [&](int v) { return place.active && place.row + v * down < part.held; };

  // Each thread copies what it reads itself.
  const Global<const uint4> x(static_cast<const uint4*>(call.x.data), call.x.count / N);
  const Global<const uint4> dy(static_cast<const uint4*>(call.dy.data), call.dy.count / N);
  const int stage = ceilDiv(turns, kStages);
  for (int s = 0; s < kStages; s++) {
    for (int v = s * stage; v < (s + 1) * stage; v++) {
      if (!there(v)) break;
      copyAsync16(heldX, at + v * stride, x, (first + v * step) / N);
      copyAsync16(heldDy, at + v * stride, dy, (first + v * step) / N);
    }
    commitCopies();
  }
  const GradFactors<N> factors(call, run, place, part);
  const auto eachVector = [&](int begin, int end, auto&& f) {
    FIGMENT_UNROLL_BY(2)
    for (int v = begin; v < end; v++) {
      if (!there(v)) break;
      const uint4 rawX = heldX.template load<uint4>(at + v * stride);
      const uint4 rawDy = heldDy.template load<uint4>(at + v * stride);
      float values[N], d[N];
      widenRaw<N>({{rawX.x, rawX.y, rawX.z, rawX.w}}, call.x.format, values);
      widenRaw<N>({{rawDy.x, rawDy.y, rawDy.z, rawDy.w}}, call.dy.format, d);
      factors.apply(call.activation, values, d);
      f(v, values, d);
    }
  };

  float sums[2][N];
  FIGMENT_UNROLL
  for (int j = 0; j < N; j++) sums[0][j] = sums[1][j] = 0;
  const auto sumStage = [&](int s) {
    eachVector(s * stage, (s + 1) * stage, [&](int, const float(&values)[N], const float(&d)[N]) {
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) {
        sums[0][j] += d[j] * values[j];
        sums[1][j] += d[j];
      }
    });
  };
  waitForCopies<3>();
  sumStage(0);
  waitForCopies<2>();
  sumStage(1);
  waitForCopies<1>();
  sumStage(2);
  waitForCopies<0>();
  sumStage(3);
  const auto totals = sumGradients<N, Cluster>(k, part, factors, sums, parts);
  if (!place.active) return;
  const GradTerms<N> terms(k, place, factors, totals);
  eachVector(0, turns, [&](int v, const float(&values)[N], float(&d)[N]) {
    terms.apply(values, d);
    storeRun<N>(call.dx, first + v * step, d);
  });
}

template <class Call>
int supports(const OpCall& call) {
  if (supportsFloats(call) < 0) return -1;
  return gradPlanOf<ResidentPlan>(call, Call::of(call).shape).ranks > 0 ? 30 : -1;
}

template <class Call>
void run(const OpCall& call, Context& context) {
  runGrad<Call, ResidentPlan>(call, context, [&](const ResidentPlan& plan, const RunGrad& k) {
    withPlan(plan, [&]<int N>() {
      launchClusters<residentGradKernel<N>>(launcherOf(context), plan.grid(k.call.shape),
                                            plan.ranks, k.run.warps * kWarp,
                                            size_t(plan.sharedBytes), k);
    });
  });
}

template <class Call>
constexpr Variant resident() {
  return runVariant<Call>("resident-cluster", Isa::sm90a, supports<Call>,
                          runGradScratch<Call, ResidentPlan>, run<Call>);
}
const RegisterVariant group{resident<GroupNormGradCall>()};
const RegisterVariant batch{resident<BatchNormGradCall>()};

}  // namespace
}  // namespace figment::cuda
