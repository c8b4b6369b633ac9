// What gradients of groupNorm and batchNorm have in common where a block, or the blocks of a
// cluster, hold a run (group_run.h) of x and dy, so that both are read once. Each block leaves its
// channels' sums for gamma and beta, which a second kernel adds up in order. Formulas:
// plain_grad.cu.
#pragma once

#include "../../device/columns.h"
#include "../../device/functions.h"
#include "group_run.h"
#include "group_split_grad.h"

namespace figment::cuda {

struct RunGrad {
  NormBackward<float> call;
  Run run;
  Global<float> partial;  ///< [2, n·ranks, c]: Σ du·x̂, Σ du

  /// Floats of shared memory: what warps have of each channel, its gamma, and two own and two
  /// merged sums of each group.
  FIGMENT_BOTH static int floats(const Run& run) {
    return (2 * run.warps + 1) * run.channels + 4 * run.groups;
  }
};

#ifdef FIGMENT_KERNELS

/// A thread's channels.
template <int N>
struct GradFactors {
  float mean[N], rstd[N], gamma[N], beta[N];

  FIGMENT_DEVICE GradFactors(const NormBackward<float>& call, const Run& run,
                             const RunPlace<N>& place, const RunPart& part) {
    if (!place.active) return;
    const int64_t channel = part.run * run.channels + place.column * N;
    const int64_t firstGroup = part.sample * call.shape.groups + part.run * run.groups;
    loadAny<N>(call.gamma, channel, gamma);
    loadAny<N>(call.beta, channel, beta);
    place.eachChannel(run, [&](int j, int group) {
      const float second = call.second[firstGroup + group];
      mean[j] = call.mean[firstGroup + group];
      rstd[j] = call.spread == Spread::variance ? 1.0f / sqrtf(second + call.eps) : second;
    });
  }
  /// x̂ in place of x, and the cotangent before the activation in place of dy.
  FIGMENT_DEVICE void apply(const NormActivation<float>& activation, float (&x)[N],
                            float (&d)[N]) const {
    float u[N];
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) {
      x[j] = (x[j] - mean[j]) * rstd[j];
      u[j] = gamma[j] * x[j] + beta[j];
    }
    activation.applySlopes(u, d);
  }
};

/// From a thread's sums of du·x̂ and du of its channels: those of the block go to scratch, and
/// Σ γ·du·x̂ and Σ γ·du of each group, over all blocks of the run, to the view that it answers, the
/// former of all groups first. All threads of the cluster call it; inactive ones bring zeros.
template <int N, class Exchange>
FIGMENT_DEVICE Shared<float> sumGradients(const RunGrad& k, const RunPart& part,
                                          const GradFactors<N>& factors, float (&sums)[2][N],
                                          const Shared<float>& parts) {
  const NormShape& shape = k.call.shape;
  const Run& run = k.run;
  const int t = int(threadIdx.x), warp = warpInBlock(), lane = laneInWarp();
  const int channels = run.channels, groups = run.groups;
  const int64_t firstChannel = part.run * channels;
  const auto gammas = parts.from(2 * channels * run.warps);
  const auto own = gammas.from(channels);
  const auto merged = own.from(2 * groups);
  if (t < run.across) {
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) gammas[t * N + j] = factors.gamma[j];
  }
  FIGMENT_UNROLL
  for (int kind = 0; kind < 2; kind++) {
    sumRows<N>(run, sums[kind]);
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++)
      if (lane < run.across) parts[(warp * 2 + kind) * channels + lane * N + j] = sums[kind][j];
  }
  __syncthreads();
  const auto channelSum = [&](int i) {
    float sum = parts[i];
    for (int other = 1; other < run.warps; other++) sum += parts[other * 2 * channels + i];
    return sum;
  };
  const int64_t row = part.sample * Exchange::ranks() + Exchange::rank();
  const int64_t rows = shape.n * Exchange::ranks();
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
        sum += gammas[local] * channelSum(kind * channels + local);
      }
    }
    sum = sumAdders(sum);
    if (at < 2 * groups && t % kAdders == 0) own[at] = sum;
  }
  Exchange::sync();
  for (int i = t; i < 2 * groups; i += int(blockDim.x)) {
    float sum = 0;
    eachRank<Exchange>([&](int rank) { sum += Exchange::read(own, i, rank); });
    merged[i] = sum;
  }
  // Also before a block ends, for the others read from it.
  Exchange::sync();
  return merged;
}

/// How dx follows: a·du - b - c·x̂ of each channel.
template <int N>
struct GradTerms {
  float a[N], b[N], c[N];

  FIGMENT_DEVICE GradTerms(const RunGrad& k, const RunPlace<N>& place,
                           const GradFactors<N>& factors, const Shared<float>& sums) {
    const float inverse = 1.0f / (float(k.call.shape.spatial) * float(k.run.width));
    place.eachChannel(k.run, [&](int j, int group) {
      const float scale = factors.rstd[j] * inverse;
      a[j] = factors.gamma[j] * factors.rstd[j];
      b[j] = scale * sums[k.run.groups + group];
      c[j] = scale * sums[group];
    });
  }
  FIGMENT_DEVICE void apply(const float (&x)[N], float (&d)[N]) const {
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) d[j] = a[j] * d[j] - b[j] - c[j] * x[j];
  }
};

#endif

inline bool hasGradAddresses(const OpCall& call) {
  const Operand* const vectors[] = {&call.in[0], &call.in[1], &call.in[2],
                                    &call.in[call.inCount - 1], &call.out[0]};
  for (const Operand* operand : vectors)
    if (!startsAligned(*operand)) return false;
  return true;
}

/// groupNormGrad or batchNormGrad, and how calls that registers do not hold, or without addresses
/// made for vectors, run.
struct GroupNormGradCall {
  static constexpr const char* kOp = "groupNormGrad";
  static NormBackward<float> of(const OpCall& call) { return groupNormGradOf<float>(call); }
  static size_t splitScratch(const OpCall& call) { return splitGroupNormGradScratch(call, 1); }
  static void split(const OpCall& call, Context& context) { splitGroupNormGrad(call, context); }
};
struct BatchNormGradCall {
  static constexpr const char* kOp = "batchNormGrad";
  static NormBackward<float> of(const OpCall& call) { return batchNormGradOf<float>(call); }
  static size_t splitScratch(const OpCall& call) { return splitBatchNormGradScratch(call, 1); }
  static void split(const OpCall& call, Context& context) { splitBatchNormGrad(call, context); }
};

template <class Plan>
Plan gradPlanOf(const OpCall& call, const NormShape& shape) {
  return Plan(shape, call.in[0].format, call.in[call.inCount - 1].format);
}
template <class Call, class Plan>
size_t runGradScratch(const OpCall& call, int) {
  const NormShape shape = Call::of(call).shape;
  const int64_t rows = shape.n * gradPlanOf<Plan>(call, shape).ranks;
  const size_t bytes = size_t(2 * rows * shape.c) * sizeof(float), other = Call::splitScratch(call);
  return bytes > other ? bytes : other;
}
/// Calls start(plan, k) for the first kernel.
template <class Call, class Plan, class Start>
void runGrad(const OpCall& call, Context& context, Start&& start) {
  if (!hasGradAddresses(call)) return Call::split(call, context);
  Launcher& launcher = launcherOf(context);
  const NormBackward<float> backward = Call::of(call);
  const Plan plan = gradPlanOf<Plan>(call, backward.shape);
  const int64_t rows = backward.shape.n * plan.ranks, c = backward.shape.c;
  const RunGrad k = {backward, plan.run, scratchView<float>(launcher, 0, 2 * rows * c)};
  start(plan, k);
  sumPartials<float>(launcher, 2, rows, c, k.partial, backward.dgamma, backward.dbeta);
}

}  // namespace figment::cuda
