// flash-mma-parts: how the keys are cut into parts, and how the parts' sums become results.
#include "../../device/instructions.h"
#include "../../device/warp.h"
#include "calls.h"
#include "flash_parts.h"
#include "results.h"

namespace figment::cuda {

namespace {

constexpr int kThreads = 128;
constexpr int kTile = 64;        ///< queries of a block
constexpr int kLeastKeys = 128;  ///< of a part
constexpr int kBlocks = 264;     ///< that keep a large GPU busy; results depend on shapes only
constexpr int kMostDim = 256;
constexpr int kMostAcross = kMostDim / kWarp;

/// Adds the parts of one query after the other, a warp each.
FIGMENT_KERNEL(kThreads)
sumKernel(AttentionProblem p, Parts parts, Results<AnyResults<float>> to) {
  const int lane = laneInWarp();
  const float factor = float(p.scale * kLog2E);
  for (int64_t query = threadInGrid() / kWarp; query < parts.queries;
       query += threadsOfGrid() / kWarp) {
    float highest = -INFINITY, total = 0, sums[kMostAcross] = {};
    for (int part = 0; part < parts.count; part++) {
      const int64_t at = part * parts.queries + query;
      const float2 statistics = parts.statistics.load<float2>(at * 2);
      const float top = fmaxf(highest, statistics.x);
      const float base = top == -INFINITY ? 0.0f : top;
      const float kept = exp2Fast((highest - base) * factor);
      const float weight = exp2Fast((statistics.x - base) * factor);
      highest = top;
      total = total * kept + statistics.y * weight;
      FIGMENT_UNROLL
      for (int i = 0; i < kMostAcross; i++) {
        const int e = i * kWarp + lane;
        if (e < p.d) sums[i] = sums[i] * kept + parts.sums[at * p.d + e] * weight;
      }
    }
    const bool blind = highest == -INFINITY && total == 0;
    const float share = blind ? 0.0f : 1.0f / total;
    if (lane == 0) to.lse[query] = blind ? -INFINITY : highest * float(p.scale) + logf(total);
    const int64_t row = p.headStart(query / p.sq, p.sq) + query % p.sq * p.rowStride();
    FIGMENT_UNROLL
    for (int i = 0; i < kMostAcross; i++) {
      const int e = i * kWarp + lane;
      if (e < p.d) to.out.set(row + e, sums[i] * share);
    }
  }
}

int64_t tilesOf(const AttentionParams& p) {
  return int64_t(p.b) * p.h * ceilDiv(int64_t(p.sq), int64_t(kTile));
}
/// Keys of a part.
int partKeys(const AttentionParams& p) {
  const int64_t wanted = ceilDiv(int64_t(kBlocks), tilesOf(p));
  const int64_t keys = ceilDiv(int64_t(p.sk), wanted);
  return int(keys < kLeastKeys ? kLeastKeys : ceilDiv(keys, int64_t(kTile)) * kTile);
}
int partCount(const AttentionParams& p) {
  return int(ceilDiv(int64_t(p.sk), int64_t(partKeys(p))));
}

int supports(const OpCall& call) {
  const auto& p = call.as<AttentionParams>();
  if (supportsFlashMma(call, kMostDim) < 0 || p.b == 0 || p.h == 0 || p.sq == 0 || p.sk == 0)
    return -1;
  return tilesOf(p) <= kBlocks / 4 && partCount(p) > 1 ? 45 : -1;
}

size_t sumBytes(const AttentionParams& p) {
  return size_t(partCount(p)) * p.b * p.h * p.sq * p.d * sizeof(float);
}
size_t scratch(const OpCall& call, int) {
  const auto& p = call.as<AttentionParams>();
  return sumBytes(p) + sumBytes(p) / p.d * 2;
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  // Parts of other values may begin anywhere.
  if (!alignedForVectors(call.in, call.inCount) || !alignedForVectors(call.out, call.outCount))
    return runFlashSimt(call, launcher);
  const auto p = AttentionProblem::of<AttentionParams>(call, 3);
  const auto& params = call.as<AttentionParams>();
  const int64_t queries = p.heads() * p.sq, count = partCount(params);
  const Parts parts = {scratchView<float>(launcher, 0, count * queries * p.d),
                       scratchView<float>(launcher, int64_t(sumBytes(params)), count * queries * 2),
                       queries, partKeys(params), int(count)};
  if (call.in[0].format == Format::bf16)
    runFlashParts<Bf16>(call, parts, launcher);
  else
    runFlashParts<F16>(call, parts, launcher);
  launch<sumKernel>(launcher, gridFor(launcher, queries * kWarp, kThreads), kThreads, 0, p, parts,
                    Results<AnyResults<float>>::of(call));
  mendAttention(call, launcher);
}

const RegisterVariant registrar{{.op = "attention",
                                 .name = "flash-mma-parts",
                                 .isa = Isa::sm80,
                                 .supports = supports,
                                 .scratch = scratch,
                                 .run = run}};

}  // namespace
}  // namespace figment::cuda
