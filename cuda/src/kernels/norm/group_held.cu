// groupNorm and batchNorm of groups that registers hold: x is read once and y written once. A task
// is a run of neighbouring groups of one sample, whose pixels one block holds, few for each thread.
#include "../../device/functions.h"
#include "group_run.h"

namespace figment::cuda {
namespace {

constexpr int kHeldWarps = 8, kHeldThreads = kHeldWarps * kWarp;
/// Floats that a thread holds at most, and where few suffice.
constexpr int kManyFloats = 64, kFewFloats = 32;

/// How a call is cut; `floats` is 0 where registers do not hold it.
struct HeldPlan {
  Run run;
  int vector;
  int floats = 0;     ///< of a thread
  bool idle = false;  ///< leaves much of a GPU without work

  HeldPlan(const NormShape& shape, Format x) : vector(runVector(x, shape.c)) {
    if (vector == 0 || vector * formatBytes(x) != 16) return;
    eachRun(shape, x, vector, [&](Run next) {
      next.pixels = shape.spatial;
      next.warps = kHeldWarps;
      if (next.pixels > held(next, kManyFloats)) return false;
      run = next;
      return true;
    });
    if (run.warps == 0) return;
    floats = run.pixels <= held(run, kFewFloats) ? kFewFloats : kManyFloats;
    const int64_t tasks = shape.n * run.ofSample;
    for (run.warps = 1; held(run, floats) < run.pixels;) run.warps *= 2;
    while (run.warps < kHeldWarps && run.down() < run.pixels && tasks * run.warps < kBusyWarps)
      run.warps *= 2;
    idle = floats == kManyFloats && tasks * run.warps < kBusyWarps / 2;
  }

  size_t sharedBytes() const { return size_t(run.floats(2)) * sizeof(float); }

 private:
  int64_t held(const Run& of, int floats) const { return int64_t(of.down()) * (floats / vector); }
};

struct Held {
  NormForward<float> call;
  Run run;
};

/// Two blocks or more on a multiprocessor, of which one reads while the other writes.
template <Format kFormat, int kFloats>
FIGMENT_KERNEL_OCCUPIED(kHeldThreads, kFloats == kFewFloats ? 3 : 2)
heldKernel(Held k) {
  constexpr int N = kRunVector<kFormat>, kVectors = kFloats / N, kCenter = kVectors / kCenterParts;
  FIGMENT_DYNAMIC_SHARED(dynamic);
  const NormForward<float>& call = k.call;
  const Run& run = k.run;
  const auto parts = dynamic.template view<float>(0, run.floats(2));
  const auto totals = parts.from(run.parts(2));
  const auto own = totals.from(2 * run.groups);
  const auto merged = own.from(3 * run.groups);

  const RunPlace<N> place(run);
  const RunPart part(run, call.shape, Alone{});
  const int down = run.down();
  const int64_t channel = part.run * run.channels + place.column * N;
  const int64_t first =
      (part.sample * call.shape.spatial + part.firstPixel + place.row) * call.shape.c + channel;
  const int64_t step = int64_t(down) * call.shape.c;
  const auto there = [&](int v) { return place.active && place.row + v * down < part.held; };

  const auto x = runVectors<kFormat>(call.x);
  const int64_t firstVector = first / N, vectorStep = step / N;
  uint4 raw[kVectors];
  FIGMENT_UNROLL
  for (int v = 0; v < kVectors; v++)
    if (there(v)) raw[v] = x[firstVector + v * vectorStep];
  float values[kVectors][N];
  float sum[1][N], about[2][N];
  FIGMENT_UNROLL
  for (int j = 0; j < N; j++) sum[0][j] = about[0][j] = about[1][j] = 0;
  FIGMENT_UNROLL
  for (int v = 0; v < kCenter; v++) {
    if (!there(v)) continue;
    widenVector<kFormat>(raw[v], values[v]);
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) sum[0][j] += values[v][j];
  }
  sumGroups<N, 1>(run, sum, parts, totals);
  const float width = float(run.width);
  const float ofCenter = 1.0f / (float(smaller(kCenter * down, part.held)) * width);
  for (int g = int(threadIdx.x); g < run.groups; g += int(blockDim.x))
    own[3 * g] = totals[g] * ofCenter;
  float center[N];
  if (place.active)
    place.eachChannel(run, [&](int j, int group) { center[j] = totals[group] * ofCenter; });
  FIGMENT_UNROLL
  for (int v = 0; v < kVectors; v++) {
    if (!there(v)) continue;
    if (v >= kCenter) widenVector<kFormat>(raw[v], values[v]);
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) {
      const float d = values[v][j] -= center[j];
      about[0][j] += d;
      about[1][j] += d * d;
    }
  }
  float gamma[N], beta[N];
  if (place.active) {
    loadAny<N>(call.gamma, channel, gamma);
    loadAny<N>(call.beta, channel, beta);
  }
  sumGroups<N, 2>(run, about, parts, totals);
  leaveMoments(run, totals, 1.0f / (float(part.held) * width), own);
  mergeMoments<Alone>(call, run, part, own, merged);
  if (!place.active) return;
  // y = (x - mean)·rstd·γ + β, of x - centre.
  place.eachChannel(run, [&](int j, int group) {
    const int at = 3 * group;
    gamma[j] *= merged[at + 2];
    beta[j] -= (merged[at] - own[at] + merged[at + 1]) * gamma[j];
  });
  FIGMENT_UNROLL
  for (int v = 0; v < kVectors; v++) {
    if (!there(v)) continue;
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) values[v][j] = values[v][j] * gamma[j] + beta[j];
    call.activation.apply(values[v]);
    storeRun<N>(call.y, first + v * step, values[v]);
  }
}

template <class Call>
int supports(const OpCall& call) {
  if (supportsFloats(call) < 0) return -1;
  const HeldPlan plan(Call::of(call).shape, call.in[0].format);
  if (plan.floats == 0) return -1;
  // What leaves multiprocessors idle, or moves part sectors of memory, is a cluster's first.
  const bool narrow = plan.run.channels * formatBytes(call.in[0].format) < 64;
  return plan.idle || narrow ? 25 : 40;
}

template <class Call>
void run(const OpCall& call, Context& context) {
  if (!hasRunAddresses(call)) return Call::split(call, context);
  Launcher& launcher = launcherOf(context);
  const NormForward<float> forward = Call::of(call);
  const HeldPlan plan(forward.shape, call.in[0].format);
  const Held k = {forward, plan.run};
  withRunFormat(forward.x.format, [&]<Format kFormat>() {
    const auto start = [&]<int kFloats>() {
      launch<heldKernel<kFormat, kFloats>>(launcher, Grid{forward.shape.n * plan.run.ofSample},
                                           plan.run.warps * kWarp, plan.sharedBytes(), k);
    };
    plan.floats == kFewFloats ? start.template operator()<kFewFloats>()
                              : start.template operator()<kManyFloats>();
  });
}

template <class Call>
constexpr Variant held() {
  return runVariant<Call>("held", Isa::sm75, supports<Call>, Call::splitScratch, run<Call>);
}
const RegisterVariant group{held<GroupNormCall>()};
const RegisterVariant batch{held<BatchNormCall>()};

}  // namespace
}  // namespace figment::cuda
