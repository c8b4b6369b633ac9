// groupNorm of groups that registers hold: x is read once and y written once. A task is a run of
// neighbouring groups of one sample; one block holds all its pixels, few for each thread, or the
// blocks of a cluster share them.
#pragma once

#include "../../device/functions.h"
#include "group_run.h"

namespace figment::cuda {

constexpr int kHeldWarps = 8, kHeldThreads = kHeldWarps * kWarp;
/// Floats that a thread holds at most, and where few suffice.
constexpr int kManyFloats = 64, kFewFloats = 32;

/// How a call is cut; `ranks` is 0 where registers do not hold it.
struct HeldPlan {
  Run run;
  int vector = 0;
  int ranks = 0;   ///< blocks of a task
  int floats = 0;  ///< of a thread

  HeldPlan(const OpCall& call, int mostRanks) {
    const auto& p = call.as<GroupNormParams>();
    if (call.in[0].empty()) return;
    vector = call.in[0].format != Format::f32 && call.out[0].format != Format::f32 ? 8 : 4;
    if (p.c % vector != 0) vector = 4;
    const int64_t size = int64_t(formatBytes(call.in[0].format)), width = p.c / p.groups;
    for (int64_t groups = 1; groups <= p.groups && groups * width <= kWarp * vector; groups++) {
      const int64_t channels = groups * width;
      if (p.groups % groups != 0 || channels % vector != 0) continue;
      Run next(channels, width, vector);
      next.ofSample = p.groups / groups;
      const int blocks = fit(next, p.n, p.spatial, mostRanks);
      if (blocks > 0) {
        run = next;
        ranks = blocks;
      }
      // Runs of whole sectors, two at least, where several fit.
      const int64_t bytes = channels * size;
      if (ranks > 0 && bytes >= 64 && bytes % 32 == 0) break;
    }
    if (ranks == 0) return;
    constexpr int64_t kBusyWarps = 1024;  // keep every GPU busy
    run.warps = kHeldWarps;
    floats = run.pixels <= int64_t(run.down()) * (kFewFloats / vector) ? kFewFloats : kManyFloats;
    for (run.warps = 1; int64_t(run.down()) * (floats / vector) < run.pixels;) run.warps *= 2;
    while (run.warps < kHeldWarps && run.down() < run.pixels &&
           p.n * run.ofSample * ranks * run.warps < kBusyWarps)
      run.warps *= 2;
  }

  size_t sharedBytes() const { return size_t(run.floats(2)) * sizeof(float); }

 private:
  /// Sets the pixels of a block; the fewest blocks that hold a run, or enough for the GPU.
  int fit(Run& next, int64_t n, int64_t spatial, int mostRanks) const {
    constexpr int64_t kBusyBlocks = 128;
    const int64_t room = int64_t(kHeldWarps) * next.perWarp * (kManyFloats / vector);
    for (int blocks = 1; blocks <= mostRanks; blocks *= 2) {
      const int64_t pixels = ceilDiv(spatial, int64_t(blocks));
      if (pixels > room || pixels * (blocks - 1) >= spatial) continue;
      const bool idle = n * next.ofSample * blocks < kBusyBlocks;
      if (idle && blocks < mostRanks && pixels >= 4 * kHeldWarps * next.perWarp) continue;
      next.pixels = pixels;
      return blocks;
    }
    return 0;
  }
};

struct Held {
  NormForward<float> call;
  Run run;
};

template <int N, int kFloats, class Exchange>
FIGMENT_DEVICE void normaliseHeld(const Held& k) {
  constexpr int kVectors = kFloats / N;
  FIGMENT_DYNAMIC_SHARED(dynamic);
  const NormForward<float>& call = k.call;
  const Run& run = k.run;
  const auto parts = dynamic.template view<float>(0, run.floats(2));
  const auto totals = parts.from(run.parts(2));
  const auto own = totals.from(2 * run.groups);
  const auto merged = own.from(3 * run.groups);

  const RunPlace<N> place(run);
  const RunPart part(run, call.shape, Exchange{});
  const int down = run.down();
  const int64_t channel = part.run * run.channels + place.column * N;
  const int64_t first =
      (part.sample * call.shape.spatial + part.firstPixel + place.row) * call.shape.c + channel;
  const int64_t step = int64_t(down) * call.shape.c;
  const auto there = [&](int v) { return place.active && place.row + v * down < part.held; };

  Raw<N> raw[kVectors];
  FIGMENT_UNROLL
  for (int v = 0; v < kVectors; v++)
    if (there(v)) raw[v] = loadRaw<N>(call.x, first + v * step);
  float values[kVectors][N];
  float sum[1][N], about[2][N];
  FIGMENT_UNROLL
  for (int j = 0; j < N; j++) sum[0][j] = about[0][j] = about[1][j] = 0;
  FIGMENT_UNROLL
  for (int v = 0; v < kVectors; v++) {
    if (!there(v)) continue;
    widenRaw<N>(raw[v], call.x.format, values[v]);
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) sum[0][j] += values[v][j];
  }
  sumGroups<N, 1>(run, place, sum, parts, totals);
  const float inverse = 1.0f / (float(part.held) * float(run.width));
  const auto eachGroup = [&](auto&& f) {
    for (int g = int(threadIdx.x); g < run.groups; g += int(blockDim.x)) f(g);
  };
  eachGroup([&](int g) { own[3 * g] = totals[g] * inverse; });
  float center[N];
  if (place.active)
    place.eachChannel(run, [&](int j, int group) { center[j] = totals[group] * inverse; });
  FIGMENT_UNROLL
  for (int v = 0; v < kVectors; v++) {
    if (!there(v)) continue;
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
  sumGroups<N, 2>(run, place, about, parts, totals);
  eachGroup([&](int g) {
    const float rest = totals[g] * inverse;
    own[3 * g + 1] = rest;
    own[3 * g + 2] = totals[run.groups + g] - totals[g] * rest;
  });
  mergeMoments<Exchange>(call, run, part, own, merged);
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
    if (call.silu) {
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) values[v][j] *= sigmoidFast(values[v][j]);
    }
    storeFloats<N>(call.y, first + v * step, values[v]);
  }
}

/// The kernels' argument. A call whose addresses are not made for vectors has none.
inline bool heldOf(const OpCall& call, const HeldPlan& plan, Held& k) {
  const auto& p = call.as<GroupNormParams>();
  if (vectorElements(p.c, {&call.in[0], &call.out[0]}, {&call.in[1], &call.in[2]}) != plan.vector)
    return false;
  k = {groupNormOf<float>(call), plan.run};
  return true;
}

}  // namespace figment::cuda
