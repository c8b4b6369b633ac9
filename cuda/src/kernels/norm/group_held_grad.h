// Gradients of groupNorm and batchNorm of groups that registers hold: x and dy are read once and dx
// written once. A task is a run of neighbouring groups of one sample, whose pixels one block holds,
// or the blocks of a cluster. Each block leaves its channels' sums for gamma and beta, which a
// second kernel adds up in order. Formulas: plain_grad.cu.
#pragma once

#include "../../device/columns.h"
#include "../../device/functions.h"
#include "group_run.h"
#include "group_split_grad.h"

namespace figment::cuda {

constexpr int kGradWarps = 8, kGradThreads = kGradWarps * kWarp;
/// Floats that a thread holds of x and dy together at most, and where few suffice.
constexpr int kManyGradFloats = 64, kFewGradFloats = 32;

/// How a call is cut; `ranks` is 0 where registers do not hold it.
struct HeldGradPlan {
  Run run;
  int vector;
  int ranks = 0;      ///< blocks of a task
  int floats = 0;     ///< of a thread
  int64_t bytes = 0;  ///< of a run's pixel

  HeldGradPlan(const NormShape& shape, Format x, Format dy, int mostRanks)
      : vector(runVector(dy == Format::f32 ? dy : x, shape.c)) {
    if (vector == 0) return;
    eachRun(shape, x, vector, [&](Run next) {
      for (int blocks = 1; blocks <= mostRanks; blocks *= 2) {
        next.pixels = ceilDiv(shape.spatial, int64_t(blocks));
        next.warps = kGradWarps;
        if (next.pixels > held(next, kManyGradFloats)) continue;
        if (next.pixels * (blocks - 1) >= shape.spatial) continue;
        const int64_t all = shape.n * next.ofSample * blocks;
        if (blocks < mostRanks && all < kBusyBlocks && next.pixels >= 2 * next.down()) continue;
        // Narrow runs that all of a GPU works on rather than wide ones for a part of it.
        if (ranks > 0 && all < kBusyBlocks) return true;
        run = next;
        ranks = blocks;
        return true;
      }
      return false;
    });
    if (ranks == 0) return;
    bytes = run.channels * int64_t(formatBytes(x));
    floats = run.pixels <= held(run, kFewGradFloats) ? kFewGradFloats : kManyGradFloats;
    const int64_t blocks = shape.n * run.ofSample * ranks;
    for (run.warps = 1; held(run, floats) < run.pixels;) run.warps *= 2;
    while (run.warps < kGradWarps && run.down() < run.pixels && blocks * run.warps < kBusyWarps)
      run.warps *= 2;
  }

  size_t sharedBytes() const {
    return size_t(2 * run.channels * run.warps + 4 * run.groups) * sizeof(float);
  }
  /// Rows of sums that blocks leave.
  int64_t rows(const NormShape& shape) const { return shape.n * ranks; }

 private:
  int64_t held(const Run& of, int floats) const {
    return int64_t(of.down()) * (floats / 2 / vector);
  }
};

struct HeldGrad {
  NormBackward<float> call;
  Run run;
  Global<float> partial;  ///< [2, n·ranks, c]: Σ du·x̂, Σ du
};

#ifdef FIGMENT_KERNELS

template <int N, int kFloats, class Exchange>
FIGMENT_DEVICE void differentiateHeld(const HeldGrad& k) {
  constexpr int kVectors = kFloats / 2 / N;
  FIGMENT_DYNAMIC_SHARED(dynamic);
  const NormBackward<float>& call = k.call;
  const NormShape& shape = call.shape;
  const Run& run = k.run;
  const int t = int(threadIdx.x), warp = warpInBlock(), lane = laneInWarp();
  const int channels = run.channels, groups = run.groups;
  const auto parts = dynamic.template view<float>(0, 2 * channels * run.warps + 4 * groups);
  const auto own = parts.from(2 * channels * run.warps);  // Σ γ·du·x̂, Σ γ·du of each group
  const auto merged = own.from(2 * groups);

  const RunPlace<N> place(run);
  const RunPart part(run, shape, Exchange{});
  const int down = run.down();
  const int64_t firstChannel = part.run * channels, channel = firstChannel + place.column * N;
  const int64_t firstGroup = part.sample * shape.groups + part.run * groups;
  const int64_t first =
      (part.sample * shape.spatial + part.firstPixel + place.row) * shape.c + channel;
  const int64_t step = int64_t(down) * shape.c;
  const auto there = [&](int v) { return place.active && place.row + v * down < part.held; };
  const auto rstdOf = [&](int group) {
    const float second = call.second[firstGroup + group];
    return call.spread == Spread::variance ? 1.0f / sqrtf(second + call.eps) : second;
  };

  Raw<N> rawX[kVectors], rawDy[kVectors];
  FIGMENT_UNROLL
  for (int v = 0; v < kVectors; v++) {
    if (!there(v)) continue;
    rawX[v] = loadRaw<N>(call.x, first + v * step);
    rawDy[v] = loadRaw<N>(call.dy, first + v * step);
  }
  float mean[N], rstd[N], gamma[N], beta[N], sums[2][N];
  FIGMENT_UNROLL
  for (int j = 0; j < N; j++) sums[0][j] = sums[1][j] = 0;
  if (place.active) {
    loadAny<N>(call.gamma, channel, gamma);
    if (call.silu) loadAny<N>(call.beta, channel, beta);
    place.eachChannel(run, [&](int j, int group) {
      mean[j] = call.mean[firstGroup + group];
      rstd[j] = rstdOf(group);
    });
  }
  float x[kVectors][N], d[kVectors][N];
  FIGMENT_UNROLL
  for (int v = 0; v < kVectors; v++) {
    if (!there(v)) continue;
    widenRaw<N>(rawX[v], call.x.format, x[v]);
    widenRaw<N>(rawDy[v], call.dy.format, d[v]);
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) x[v][j] = (x[v][j] - mean[j]) * rstd[j];
    if (call.silu) {
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) {
        const float u = gamma[j] * x[v][j] + beta[j], s = sigmoidFast(u);
        d[v][j] *= s + u * s * (1.0f - s);
      }
    }
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) {
      sums[0][j] += d[v][j] * x[v][j];
      sums[1][j] += d[v][j];
    }
  }

  // What each warp has of each channel, from which channels and groups are added up.
  FIGMENT_UNROLL
  for (int kind = 0; kind < 2; kind++) {
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) {
      const float sum = sumRows(run, sums[kind][j]);
      if (lane < run.across) parts[(warp * 2 + kind) * channels + lane * N + j] = sum;
    }
  }
  __syncthreads();
  const auto channelSum = [&](int i) {
    float sum = parts[i];
    for (int other = 1; other < run.warps; other++) sum += parts[other * 2 * channels + i];
    return sum;
  };
  const int64_t row = part.sample * Exchange::kRanks + Exchange::rank();
  const int64_t rows = shape.n * Exchange::kRanks;
  for (int i = t; i < 2 * channels; i += int(blockDim.x)) {
    const int kind = i >= channels;
    k.partial[(kind * rows + row) * shape.c + firstChannel + i - kind * channels] = channelSum(i);
  }
  for (int from = 0; from < 2 * groups; from += int(blockDim.x) / kAdders) {
    const int at = from + t / kAdders, kind = at >= groups, group = at - kind * groups;
    float sum = 0;
    if (at < 2 * groups) {
      for (int i = t % kAdders; i < run.width; i += kAdders) {
        const int local = group * run.width + i;
        sum += call.gamma[firstChannel + local] * channelSum(kind * channels + local);
      }
    }
    sum = sumAdders(sum);
    if (at < 2 * groups && t % kAdders == 0) own[at] = sum;
  }
  Exchange::sync();
  for (int i = t; i < 2 * groups; i += int(blockDim.x)) {
    float sum = 0;
    for (int rank = 0; rank < Exchange::kRanks; rank++) sum += Exchange::read(own, i, rank);
    merged[i] = sum;
  }
  // Also before a block ends, for the others read from it.
  Exchange::sync();
  if (!place.active) return;
  const float inverse = 1.0f / float(shape.count());
  place.eachChannel(run, [&](int j, int group) {
    gamma[j] *= rstd[j];
    mean[j] = rstd[j] * merged[groups + group] * inverse;
    rstd[j] *= merged[group] * inverse;
  });
  FIGMENT_UNROLL
  for (int v = 0; v < kVectors; v++) {
    if (!there(v)) continue;
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) d[v][j] = gamma[j] * d[v][j] - mean[j] - x[v][j] * rstd[j];
    storeRun<N>(call.dx, first + v * step, d[v]);
  }
}

#endif

inline bool hasGradAddresses(const OpCall& call, bool beta) {
  const Operand* const vectors[] = {&call.in[0], &call.in[1], &call.in[beta ? 2 : 0],
                                    &call.in[call.inCount - 1], &call.out[0]};
  for (const Operand* operand : vectors)
    if (reinterpret_cast<uintptr_t>(operand->data) % 16 != 0) return false;
  return true;
}

/// groupNormGrad or batchNormGrad, and how calls that registers do not hold, or without addresses
/// made for vectors, run.
struct GroupNormGradCall {
  static constexpr bool kBeta = true;
  static NormBackward<float> of(const OpCall& call) { return groupNormGradOf<float>(call); }
  static size_t splitScratch(const OpCall& call) { return splitGroupNormGradScratch(call, 1); }
  static void split(const OpCall& call, Context& context) { splitGroupNormGrad(call, context); }
};
struct BatchNormGradCall {
  static constexpr bool kBeta = false;
  static NormBackward<float> of(const OpCall& call) { return batchNormGradOf<float>(call); }
  static size_t splitScratch(const OpCall& call) { return splitBatchNormGradScratch(call, 1); }
  static void split(const OpCall& call, Context& context) { splitBatchNormGrad(call, context); }
};

template <int mostRanks>
HeldGradPlan gradPlanOf(const OpCall& call, const NormShape& shape) {
  return HeldGradPlan(shape, call.in[0].format, call.in[call.inCount - 1].format, mostRanks);
}
template <class Call, int mostRanks>
size_t heldGradScratch(const OpCall& call, int) {
  const NormShape shape = Call::of(call).shape;
  const int64_t rows = gradPlanOf<mostRanks>(call, shape).rows(shape);
  const size_t bytes = size_t(2 * rows * shape.c) * sizeof(float), other = Call::splitScratch(call);
  return bytes > other ? bytes : other;
}
/// Calls start.template operator()<N, kFloats>(plan, k) for the first kernel.
template <class Call, int mostRanks, class Start>
void runHeldGrad(const OpCall& call, Context& context, Start&& start) {
  if (!hasGradAddresses(call, Call::kBeta)) return Call::split(call, context);
  Launcher& launcher = launcherOf(context);
  const NormBackward<float> backward = Call::of(call);
  const HeldGradPlan plan = gradPlanOf<mostRanks>(call, backward.shape);
  const int64_t rows = plan.rows(backward.shape), c = backward.shape.c;
  const HeldGrad k = {backward, plan.run, scratchView<float>(launcher, 0, 2 * rows * c)};
  const bool few = plan.floats == kFewGradFloats;
  if (plan.vector == 8 && few)
    start.template operator()<8, kFewGradFloats>(plan, k);
  else if (plan.vector == 8)
    start.template operator()<8, kManyGradFloats>(plan, k);
  else if (few)
    start.template operator()<4, kFewGradFloats>(plan, k);
  else
    start.template operator()<4, kManyGradFloats>(plan, k);
  sumPartials<float>(launcher, 2, rows, c, k.partial, backward.dgamma, backward.dbeta);
}

}  // namespace figment::cuda
