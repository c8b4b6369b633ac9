// Gradients of groupNorm and batchNorm of groups that one block's registers hold.
#include "group_run_grad.h"

namespace figment::cuda {
namespace {

constexpr int kWarps = 8, kThreads = kWarps * kWarp;
/// Floats that a thread holds of x and dy together at most, and where few suffice.
constexpr int kManyFloats = 64, kFewFloats = 32;

/// How a call is cut; `ranks` is 0 where registers do not hold it.
struct HeldPlan {
  Run run;
  int vector;
  int ranks = 0;
  int floats = 0;     ///< of a thread
  int64_t bytes = 0;  ///< of a run's pixel
  bool idle = false;  ///< leaves much of a GPU without work

  HeldPlan(const NormShape& shape, Format x, Format dy)
      : vector(runVector(dy == Format::f32 ? dy : x, shape.c)) {
    if (vector == 0) return;
    eachRun(shape, x, vector, [&](Run next) {
      next.pixels = shape.spatial;
      next.warps = kWarps;
      if (next.pixels > held(next, kManyFloats)) return false;
      run = next;
      ranks = 1;
      return true;
    });
    if (ranks == 0) return;
    bytes = run.channels * int64_t(formatBytes(x));
    floats = run.pixels <= held(run, kFewFloats) ? kFewFloats : kManyFloats;
    const int64_t tasks = shape.n * run.ofSample;
    for (run.warps = 1; held(run, floats) < run.pixels;) run.warps *= 2;
    while (run.warps < kWarps && run.down() < run.pixels && tasks * run.warps < kBusyWarps)
      run.warps *= 2;
    idle = floats == kManyFloats && tasks * run.warps < kBusyWarps / 2;
  }

 private:
  int64_t held(const Run& of, int floats) const {
    return int64_t(of.down()) * (floats / 2 / vector);
  }
};

template <int N, int kFloats>
FIGMENT_KERNEL_OCCUPIED(kThreads, kFloats == kFewFloats ? 3 : 2)
heldGradKernel(RunGrad k) {
  constexpr int kVectors = kFloats / 2 / N;
  FIGMENT_DYNAMIC_SHARED(dynamic);
  const NormBackward<float>& call = k.call;
  const NormShape& shape = call.shape;
  const Run& run = k.run;
  const auto parts = dynamic.template view<float>(0, RunGrad::floats(run));
  const RunPlace<N> place(run);
  const RunPart part(run, shape, Alone{});
  const int down = run.down();
  const int64_t first = (part.sample * shape.spatial + place.row) * shape.c +
                        part.run * run.channels + place.column * N;
  const int64_t step = int64_t(down) * shape.c;
  const auto there = [&](int v) { return place.active && place.row + v * down < part.held; };

  Raw<N> rawX[kVectors], rawDy[kVectors];
  FIGMENT_UNROLL
  for (int v = 0; v < kVectors; v++) {
    if (!there(v)) continue;
    rawX[v] = loadRaw<N>(call.x, first + v * step);
    rawDy[v] = loadRaw<N>(call.dy, first + v * step);
  }
  const GradFactors<N> factors(call, run, place, part);
  float x[kVectors][N], d[kVectors][N], sums[2][N];
  FIGMENT_UNROLL
  for (int j = 0; j < N; j++) sums[0][j] = sums[1][j] = 0;
  FIGMENT_UNROLL
  for (int v = 0; v < kVectors; v++) {
    if (!there(v)) continue;
    widenRaw<N>(rawX[v], call.x.format, x[v]);
    widenRaw<N>(rawDy[v], call.dy.format, d[v]);
    factors.apply(call.activation, x[v], d[v]);
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) {
      sums[0][j] += d[v][j] * x[v][j];
      sums[1][j] += d[v][j];
    }
  }
  const auto totals = sumGradients<N, Alone>(k, part, factors, sums, parts);
  if (!place.active) return;
  const GradTerms<N> terms(k, place, factors, totals);
  FIGMENT_UNROLL
  for (int v = 0; v < kVectors; v++) {
    if (!there(v)) continue;
    terms.apply(x[v], d[v]);
    storeRun<N>(call.dx, first + v * step, d[v]);
  }
}

/// Runs of less than two sectors of memory, and few tasks, are a cluster's first.
template <class Call>
int supports(const OpCall& call) {
  if (supportsFloats(call) < 0) return -1;
  const HeldPlan plan = gradPlanOf<HeldPlan>(call, Call::of(call).shape);
  if (plan.ranks == 0 || plan.bytes < 32) return -1;
  return plan.bytes < 64 || plan.idle ? 20 : 40;
}

template <class Call>
void run(const OpCall& call, Context& context) {
  runGrad<Call, HeldPlan>(call, context, [&](const HeldPlan& plan, const RunGrad& k) {
    const auto start = [&]<int N, int kFloats>() {
      launch<heldGradKernel<N, kFloats>>(launcherOf(context), Grid{k.call.shape.n * k.run.ofSample},
                                         k.run.warps * kWarp,
                                         size_t(RunGrad::floats(k.run)) * sizeof(float), k);
    };
    const bool few = plan.floats == kFewFloats;
    if (plan.vector == 8 && few) return start.template operator()<8, kFewFloats>();
    if (plan.vector == 8) return start.template operator()<8, kManyFloats>();
    if (few) return start.template operator()<4, kFewFloats>();
    start.template operator()<4, kManyFloats>();
  });
}

template <class Call>
constexpr Variant held() {
  return runVariant<Call>("held", Isa::sm75, supports<Call>, runGradScratch<Call, HeldPlan>,
                          run<Call>);
}
const RegisterVariant group{held<GroupNormGradCall>()};
const RegisterVariant batch{held<BatchNormGradCall>()};

}  // namespace
}  // namespace figment::cuda
