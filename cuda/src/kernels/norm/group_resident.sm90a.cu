// groupNorm and batchNorm of groups that the shared memory of a block holds, or of a cluster of up
// to eight, which exchange moments through it: x is read once and y written once. A task is a run
// of neighbouring groups of one sample.
#include "../../device/functions.h"
#include "cluster.h"

namespace figment::cuda {
namespace {

constexpr int kMostWarps = 16, kThreads = kMostWarps * kWarp;
/// Parts that a thread's copies arrive in, of which the first gives the centre.
constexpr int kStages = kCenterParts;

/// Four blocks on one multiprocessor, where warps allow, of which some read while others add up or
/// write; two for narrow runs, which otherwise take three launches.
ClusterPlan planOf(const NormShape& shape, Format x) {
  return ClusterPlan(shape, x,
                     {.mostWarps = kMostWarps,
                      .vectors = 16,
                      .comfortable = 56 * 1024,
                      .narrow = 112 * 1024,
                      .vectorBytes = 16,
                      .floats = [](const Run& run) { return run.floats(2); }});
}

struct Resident {
  NormForward<float> call;
  Run run;
  int turns;  ///< in which a block's threads go over its pixels
};

template <Format kFormat>
FIGMENT_KERNEL_OCCUPIED(kThreads, 2)
residentKernel(Resident k) {
  constexpr int N = kRunVector<kFormat>;
  FIGMENT_DYNAMIC_SHARED(dynamic);
  const NormForward<float>& call = k.call;
  const Run& run = k.run;
  const int vectors = int(run.pixels) * run.across;
  const auto data = dynamic.template view<uint4>(0, vectors);
  const auto parts = dynamic.template view<float>(vectors * 16, run.floats(2));
  const auto totals = parts.from(run.parts(2));
  const auto own = totals.from(2 * run.groups);
  const auto merged = own.from(3 * run.groups);

  const RunPlace<N> place(run);
  const RunPart part(run, call.shape, Cluster{});
  // A block of the last pixels has fewer of them than the others.
  const int down = run.down();
  const int turns = part.held == run.pixels ? k.turns : ceilDiv(part.held, down);
  const int stage = ceilDiv(turns, kStages);
  const bool last = place.row + (turns - 1) * down < part.held;
  const int count = place.active ? turns - (last ? 0 : 1) : 0;  // of the thread
  const int64_t channel = part.run * run.channels + place.column * N;
  const int64_t first =
      (part.sample * call.shape.spatial + part.firstPixel + place.row) * call.shape.c + channel;
  const int64_t step = int64_t(down) * call.shape.c;
  const int at = place.row * run.across + place.column, stride = down * run.across;

  // Each thread copies what it reads itself.
  const auto x = runVectors<kFormat>(call.x);
  const int64_t firstVector = first / N, vectorStep = step / N;
  for (int s = 0; s < kStages; s++) {
    const int end = smaller((s + 1) * stage, count);
    for (int v = s * stage; v < end; v++)
      copyAsync16(data, at + v * stride, x, firstVector + v * vectorStep);
    commitCopies();
  }
  const auto eachVector = [&](int begin, int end, auto&& f) {
    FIGMENT_UNROLL_BY(2)
    for (int v = begin; v < smaller(end, count); v++) {
      float values[N];
      widenVector<kFormat>(data.template load<uint4>(at + v * stride), values);
      f(v, values);
    }
  };

  float sum[1][N], about[2][N];
  FIGMENT_UNROLL
  for (int j = 0; j < N; j++) sum[0][j] = about[0][j] = about[1][j] = 0;
  waitForCopies<3>();
  eachVector(0, stage, [&](int, const float(&values)[N]) {
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) sum[0][j] += values[j];
  });
  sumGroups<N, 1>(run, sum, parts, totals);
  const float width = float(run.width);
  const float ofCenter = 1.0f / (float(smaller(stage * down, part.held)) * width);
  for (int g = int(threadIdx.x); g < run.groups; g += int(blockDim.x))
    own[3 * g] = totals[g] * ofCenter;
  float center[N];
  if (place.active)
    place.eachChannel(run, [&](int j, int group) { center[j] = totals[group] * ofCenter; });
  const auto sumStage = [&](int s) {
    eachVector(s * stage, (s + 1) * stage, [&](int, const float(&values)[N]) {
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) {
        const float d = values[j] - center[j];
        about[0][j] += d;
        about[1][j] += d * d;
      }
    });
  };
  sumStage(0);
  waitForCopies<2>();
  sumStage(1);
  waitForCopies<1>();
  sumStage(2);
  waitForCopies<0>();
  sumStage(3);
  float gamma[N], beta[N];
  if (place.active) {
    loadAny<N>(call.gamma, channel, gamma);
    loadAny<N>(call.beta, channel, beta);
  }
  sumGroups<N, 2>(run, about, parts, totals);
  leaveMoments(run, totals, 1.0f / (float(part.held) * width), own);
  mergeMoments<Cluster>(call, run, part, own, merged);
  if (place.active)
    place.eachChannel(run, [&](int j, int group) {
      center[j] = merged[3 * group];
      gamma[j] *= merged[3 * group + 2];
      beta[j] -= merged[3 * group + 1] * gamma[j];
    });
  eachVector(0, count, [&](int v, float(&values)[N]) {
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) values[j] = (values[j] - center[j]) * gamma[j] + beta[j];
    call.activation.apply(values);
    storeRun<N>(call.y, first + v * step, values);
  });
  // The others read from this block.
  Cluster::wait();
}

template <class Call>
int supports(const OpCall& call) {
  if (supportsFloats(call) < 0) return -1;
  return planOf(Call::of(call).shape, call.in[0].format).ranks > 0 ? 30 : -1;
}

template <class Call>
void run(const OpCall& call, Context& context) {
  if (!hasRunAddresses(call)) return Call::split(call, context);
  const NormForward<float> forward = Call::of(call);
  const ClusterPlan plan = planOf(forward.shape, call.in[0].format);
  const Resident k = {forward, plan.run, int(ceilDiv(plan.run.pixels, plan.run.down()))};
  withRunFormat(forward.x.format, [&]<Format kFormat>() {
    launchClusters<residentKernel<kFormat>>(launcherOf(context), plan.grid(forward.shape),
                                            plan.ranks, plan.run.warps * kWarp,
                                            size_t(plan.sharedBytes), k);
  });
}

template <class Call>
constexpr Variant resident() {
  return runVariant<Call>("resident-cluster", Isa::sm90a, supports<Call>, Call::splitScratch,
                          run<Call>);
}
const RegisterVariant group{resident<GroupNormCall>()};
const RegisterVariant batch{resident<BatchNormCall>()};

}  // namespace
}  // namespace figment::cuda
