// groupNorm and batchNorm of groups that the shared memory of a block holds, or of a cluster of up
// to eight, which exchange moments through it: x is read once and y written once. A task is a run
// of neighbouring groups of one sample.
#include "../../device/functions.h"
#include "cluster.h"

namespace figment::cuda {
namespace {

constexpr int kMostWarps = 16, kThreads = kMostWarps * kWarp;
/// Parts that a thread's copies arrive in.
constexpr int kStages = 4;

/// Two blocks on one multiprocessor, of which one reads while the other writes.
ClusterPlan planOf(const NormShape& shape, Format x) {
  return ClusterPlan(shape, x,
                     {.mostWarps = kMostWarps,
                      .comfortable = 112 * 1024,
                      .vectorBytes = 16,
                      .floats = [](const Run& run) { return run.floats(2); }});
}

struct Resident {
  NormForward<float> call;
  Run run;
};

template <int N>
FIGMENT_KERNEL_OCCUPIED(kThreads, 2)
residentKernel(Resident k) {
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
  const int down = run.down(), turns = ceilDiv(part.held, down);
  const int64_t channel = part.run * run.channels + place.column * N;
  const int64_t first =
      (part.sample * call.shape.spatial + part.firstPixel + place.row) * call.shape.c + channel;
  const int64_t step = int64_t(down) * call.shape.c;
  const int at = place.row * run.across + place.column, stride = down * run.across;
  const auto there = [&](int v) { return place.active && place.row + v * down < part.held; };

  // Each thread copies what it reads itself.
  const Global<const uint4> x(static_cast<const uint4*>(call.x.data), call.x.count / N);
  const int stage = ceilDiv(turns, kStages);
  for (int s = 0; s < kStages; s++) {
    for (int v = s * stage; v < (s + 1) * stage; v++)
      if (there(v)) copyAsync16(data, at + v * stride, x, (first + v * step) / N);
    commitCopies();
  }
  const auto eachVector = [&](int begin, int end, auto&& f) {
    FIGMENT_UNROLL_BY(4)
    for (int v = begin; v < end; v++) {
      if (!there(v)) break;
      const uint4 all = data.template load<uint4>(at + v * stride);
      float values[N];
      widenRaw<N>({{all.x, all.y, all.z, all.w}}, call.x.format, values);
      f(v, values);
    }
  };

  float sum[1][N], about[2][N];
  FIGMENT_UNROLL
  for (int j = 0; j < N; j++) sum[0][j] = about[0][j] = about[1][j] = 0;
  const auto sumStage = [&](int s) {
    eachVector(s * stage, (s + 1) * stage, [&](int, const float(&values)[N]) {
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) sum[0][j] += values[j];
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
  sumGroups<N, 1>(run, sum, parts, totals);
  const float inverse = 1.0f / (float(part.held) * float(run.width));
  const auto eachGroup = [&](auto&& f) {
    for (int g = int(threadIdx.x); g < run.groups; g += int(blockDim.x)) f(g);
  };
  eachGroup([&](int g) { own[3 * g] = totals[g] * inverse; });
  float center[N];
  if (place.active)
    place.eachChannel(run, [&](int j, int group) { center[j] = totals[group] * inverse; });
  eachVector(0, turns, [&](int, const float(&values)[N]) {
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) {
      const float d = values[j] - center[j];
      about[0][j] += d;
      about[1][j] += d * d;
    }
  });
  float gamma[N], beta[N];
  if (place.active) {
    loadAny<N>(call.gamma, channel, gamma);
    loadAny<N>(call.beta, channel, beta);
  }
  sumGroups<N, 2>(run, about, parts, totals);
  eachGroup([&](int g) {
    const float rest = totals[g] * inverse;
    own[3 * g + 1] = rest;
    own[3 * g + 2] = totals[run.groups + g] - totals[g] * rest;
  });
  mergeMoments<Cluster>(call, run, part, own, merged);
  if (!place.active) return;
  place.eachChannel(run, [&](int j, int group) {
    center[j] = merged[3 * group];
    gamma[j] *= merged[3 * group + 2];
    beta[j] -= merged[3 * group + 1] * gamma[j];
  });
  eachVector(0, turns, [&](int v, float(&values)[N]) {
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) values[j] = (values[j] - center[j]) * gamma[j] + beta[j];
    call.activation.apply(values);
    storeRun<N>(call.y, first + v * step, values);
  });
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
  const Resident k = {forward, plan.run};
  withPlan(plan, [&]<int N>() {
    launchClusters<residentKernel<N>>(launcherOf(context), plan.grid(forward.shape), plan.ranks,
                                      plan.run.warps * kWarp, size_t(plan.sharedBytes), k);
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
