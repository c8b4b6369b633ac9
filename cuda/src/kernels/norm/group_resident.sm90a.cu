// groupNorm and batchNorm of groups that the shared memory of a block holds, or of a cluster of up
// to eight, which exchange moments through it: x is read once and y written once. A task is a run
// of neighbouring groups of one sample.
#include "../../device/functions.h"
#include "cluster.h"
#include "group_run.h"
#include "group_split.h"

namespace figment::cuda {
namespace {

constexpr int kMostWarps = 16, kThreads = kMostWarps * kWarp;
constexpr int kMostRanks = 8;
/// Two blocks on one multiprocessor, of which one reads while the other writes; or one.
constexpr int64_t kComfortable = 112 * 1024, kBudget = 226 * 1024;
/// Vectors of a thread that a block should have at least.
constexpr int kFewVectors = 4;
/// Parts that a thread's copies arrive in.
constexpr int kStages = 4;

/// How a call is cut; `ranks` is 0 where shared memory does not hold it.
struct ResidentPlan {
  Run run;
  int vector;
  int ranks = 0;  ///< blocks of a task
  int64_t sharedBytes = 0;

  ResidentPlan(const NormShape& shape, Format x) : vector(runVector(x, shape.c)) {
    if (vector == 0 || vector * formatBytes(x) != 16) return;
    eachRun(shape, x, vector, [&](Run next) {
      // Where memory moves in part sectors, or hides no time, slabs are as fast.
      const int64_t runBytes = next.channels * int64_t(formatBytes(x));
      const bool narrow = runBytes < 64;
      if (runBytes < 32) return false;
      for (int blocks = 1; blocks <= kMostRanks; blocks *= 2) {
        next.pixels = ceilDiv(shape.spatial, int64_t(blocks));
        next.warps = 1;
        while (next.warps < kMostWarps && kFewVectors * next.down() < next.pixels) next.warps *= 2;
        const int64_t bytes = next.pixels * next.across * 16 + next.floats(2) * int64_t{4};
        const int64_t most = blocks < kMostRanks || narrow ? kComfortable : kBudget;
        if (bytes > most || next.pixels * (blocks - 1) >= shape.spatial) continue;
        const int64_t all = shape.n * next.ofSample * blocks;
        if (blocks < kMostRanks && all < kBusyBlocks && next.warps == kMostWarps) continue;
        // Narrow runs that all of a GPU works on rather than wide ones for a part of it.
        if (ranks > 0 && all < kBusyBlocks) return true;
        run = next;
        ranks = blocks;
        sharedBytes = bytes;
        return true;
      }
      return false;
    });
  }
};

struct Resident {
  NormForward<float> call;
  Run run;
};

template <int N, int ranks>
FIGMENT_KERNEL_OCCUPIED(kThreads, 2)
__cluster_dims__(ranks, 1, 1) residentKernel(Resident k) {
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
  const RunPart part(run, call.shape, Cluster<ranks>{});
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
  mergeMoments<Cluster<ranks>>(call, run, part, own, merged);
  if (!place.active) return;
  place.eachChannel(run, [&](int j, int group) {
    center[j] = merged[3 * group];
    gamma[j] *= merged[3 * group + 2];
    beta[j] -= merged[3 * group + 1] * gamma[j];
  });
  eachVector(0, turns, [&](int v, float(&values)[N]) {
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) values[j] = (values[j] - center[j]) * gamma[j] + beta[j];
    if (call.silu) {
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) values[j] *= sigmoidFast(values[j]);
    }
    storeRun<N>(call.y, first + v * step, values);
  });
}

template <NormForward<float> (*kForward)(const OpCall&)>
int supports(const OpCall& call) {
  if (supportsFloats(call) < 0) return -1;
  return ResidentPlan(kForward(call).shape, call.in[0].format).ranks > 0 ? 30 : -1;
}

template <int N>
void start(const ResidentPlan& plan, const Resident& k, Launcher& launcher) {
  const Grid grid{k.call.shape.n * k.run.ofSample * plan.ranks};
  const int threads = k.run.warps * kWarp;
  const size_t bytes = size_t(plan.sharedBytes);
  switch (plan.ranks) {
    case 1:
      return launch<residentKernel<N, 1>>(launcher, grid, threads, bytes, k);
    case 2:
      return launch<residentKernel<N, 2>>(launcher, grid, threads, bytes, k);
    case 4:
      return launch<residentKernel<N, 4>>(launcher, grid, threads, bytes, k);
    default:
      return launch<residentKernel<N, 8>>(launcher, grid, threads, bytes, k);
  }
}

template <NormForward<float> (*kForward)(const OpCall&), void (*kSplit)(const OpCall&, Context&)>
void run(const OpCall& call, Context& context) {
  if (!hasRunAddresses(call)) return kSplit(call, context);
  const NormForward<float> forward = kForward(call);
  const ResidentPlan plan(forward.shape, call.in[0].format);
  const Resident k = {forward, plan.run};
  if (plan.vector == 8)
    start<8>(plan, k, launcherOf(context));
  else
    start<4>(plan, k, launcherOf(context));
}

const RegisterVariant group{{.op = "groupNorm",
                             .name = "resident-cluster",
                             .isa = Isa::sm90a,
                             .supports = supports<groupNormOf<float>>,
                             .scratch = splitGroupNormScratch,
                             .run = run<groupNormOf<float>, splitGroupNorm>}};
const RegisterVariant batch{{.op = "batchNorm",
                             .name = "resident-cluster",
                             .isa = Isa::sm90a,
                             .supports = supports<batchNormOf<float>>,
                             .scratch = splitBatchNormScratch,
                             .run = run<batchNormOf<float>, splitBatchNorm>}};

}  // namespace
}  // namespace figment::cuda
