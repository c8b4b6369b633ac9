// How a block works on a run: neighbouring groups of one sample, whose channels make vectors. A
// warp takes a row of vectors, or some rows beside each other, lanes that are left over idle; so
// sums over pixels are shuffles first, then few numbers for each warp. Blocks that share a run's
// pixels exchange moments.
#pragma once

#include "../../device/four.h"
#include "../../device/vectors.h"
#include "../../device/warp.h"
#include "affine.h"
#include "group_split.h"

namespace figment::cuda {

/// Blocks, and warps, that keep every GPU busy.
constexpr int64_t kBusyBlocks = 128, kBusyWarps = 1024;
/// Tasks whose blocks, several for each at most, one row of a grid has.
constexpr int64_t kMostTasks = int64_t{1} << 27;
/// Lanes that add up what the warps have of one sum.
constexpr int kAdders = 8;

struct Run {
  int channels = 0, groups = 0;
  int width = 0;         ///< channels of a group
  int across = 0;        ///< vectors of a pixel: at most a warp
  int perWarp = 0;       ///< pixels that a warp takes at once
  int warps = 0;         ///< of a block
  bool whole = false;    ///< no vector belongs to two groups
  int64_t pixels = 0;    ///< of a block
  int64_t ofSample = 0;  ///< runs of a sample

  Run() = default;
  Run(int64_t channels, int64_t width, int vector)
      : channels(int(channels)),
        groups(int(channels / width)),
        width(int(width)),
        across(int(channels / vector)),
        perWarp(kWarp / across),
        whole(width % vector == 0) {}

  FIGMENT_BOTH int down() const { return warps * perWarp; }
  /// Sums of one kind that a warp has.
  FIGMENT_BOTH int entries() const { return whole ? across : channels; }
  /// Floats of shared memory for sums of `kinds` kinds: those of warps, totals of groups, and three
  /// own and three merged numbers of each group.
  FIGMENT_BOTH int parts(int kinds) const { return kinds * entries() * warps; }
  FIGMENT_BOTH int floats(int kinds) const { return parts(kinds) + (kinds + 6) * groups; }
};

/// Elements of the vectors that x of `c` channels is read as; 0 where there are none.
inline int runVector(Format x, int64_t c) {
  if (x != Format::f32 && c % 8 == 0) return 8;
  return c % 4 == 0 ? 4 : 0;
}
/// Whether a call's addresses are made for vectors: x, gamma, beta and y are.
inline bool hasRunAddresses(const OpCall& call) {
  return startsAligned(call.in[0]) && startsAligned(call.in[1]) && startsAligned(call.in[2]) &&
         startsAligned(call.out[0]);
}
/// groupNorm or batchNorm, and how calls without addresses made for vectors run.
struct GroupNormCall {
  static constexpr const char* kOp = "groupNorm";
  static NormForward<float> of(const OpCall& call) { return groupNormOf<float>(call); }
  static size_t splitScratch(const OpCall& call, int threads) {
    return splitGroupNormScratch(call, threads);
  }
  static void split(const OpCall& call, Context& context) { splitGroupNorm(call, context); }
};
struct BatchNormCall {
  static constexpr const char* kOp = "batchNorm";
  static NormForward<float> of(const OpCall& call) { return batchNormOf<float>(call); }
  static size_t splitScratch(const OpCall& call, int threads) {
    return splitBatchNormScratch(call, threads);
  }
  static void split(const OpCall& call, Context& context) { splitBatchNorm(call, context); }
};

/// A kernel of runs as a variant of a Call's operation.
template <class Call>
constexpr Variant runVariant(const char* name, Isa isa, int (*supports)(const OpCall&),
                             size_t (*scratch)(const OpCall&, int),
                             void (*run)(const OpCall&, Context&)) {
  return {.op = Call::kOp,
          .name = name,
          .isa = isa,
          .supports = supports,
          .scratch = scratch,
          .run = run};
}

/// Calls f(run) for runs of more and more groups, up to the first of whole sectors of memory, two
/// at least, once f has answered that it has a use for one.
template <class F>
void eachRun(const NormShape& shape, Format x, int vector, F&& f) {
  const int64_t width = shape.width(), size = int64_t(formatBytes(x));
  bool used = false;
  for (int64_t groups = 1; groups <= shape.groups && groups * width <= kWarp * vector; groups++) {
    const int64_t channels = groups * width, bytes = channels * size;
    if (shape.groups % groups != 0 || channels % vector != 0) continue;
    Run run(channels, width, vector);
    run.ofSample = shape.groups / groups;
    if (shape.n * run.ofSample > kMostTasks) continue;
    used = f(run) || used;
    if (used && bytes >= 64 && bytes % 32 == 0) return;
  }
}

#ifdef FIGMENT_KERNELS

/// Eight floats as they are stored in f32 too, beside 16-bit operands.
template <int N>
FIGMENT_DEVICE void storeRun(const FloatResults<float>& y, int64_t i, const float (&values)[N]) {
  if constexpr (N == 8) {
    if (y.format == Format::f32) {
      y.as<float>().store(i, make_float4(values[0], values[1], values[2], values[3]));
      y.as<float>().store(i + 4, make_float4(values[4], values[5], values[6], values[7]));
      return;
    }
  }
  storeFloats<N>(y, i, values);
}

/// A thread's place in its block's run.
template <int N>
struct RunPlace {
  int column, row;
  bool active;
  int group;  ///< of the vector's first channel, in the run
  int left;   ///< channels of that group from there on

  FIGMENT_DEVICE explicit RunPlace(const Run& run) {
    const int lane = laneInWarp(), down = lane / run.across;
    column = lane - down * run.across;
    row = warpInBlock() * run.perWarp + down;
    active = down < run.perWarp;
    group = column * N / run.width;
    left = (group + 1) * run.width - column * N;
  }
  /// Calls f(j, group) for each channel of the vector.
  template <class F>
  FIGMENT_DEVICE void eachChannel(const Run& run, F&& f) const {
    int of = group, more = left;
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) {
      f(j, of);
      if (--more == 0) {
        more = run.width;
        of++;
      }
    }
  }
};

/// The sum of a column over the pixels that a warp takes at once, in the lanes of the first.
FIGMENT_DEVICE float sumRows(const Run& run, float value) {
  const int lane = laneInWarp(), across = run.across;
  FIGMENT_UNROLL
  for (int step = kWarp / 2; step > 0; step /= 2) {
    if (step >= run.perWarp) continue;
    const float other = __shfl_down_sync(kWholeWarp, value, unsigned(step * across));
    if (lane + step * across < run.perWarp * across) value += other;
  }
  return value;
}
/// The sum over kAdders neighbouring lanes.
FIGMENT_DEVICE float sumAdders(float value) {
  FIGMENT_UNROLL
  for (int step = kAdders / 2; step > 0; step /= 2)
    value += __shfl_xor_sync(kWholeWarp, value, step);
  return value;
}

/// totals[kind·groups + group] = the sum of values[kind] over the group's channels and all rows of
/// the block; inactive threads bring zeros. All threads call it, and may read `totals` afterwards.
template <int N, int kKinds>
FIGMENT_DEVICE void sumGroups(const Run& run, float (&values)[kKinds][N],
                              const Shared<float>& parts, const Shared<float>& totals) {
  const int lane = laneInWarp(), warp = warpInBlock(), across = run.across;
  FIGMENT_UNROLL
  for (int kind = 0; kind < kKinds; kind++) {
    float(&of)[N] = values[kind];
    if (run.whole) {
      FIGMENT_UNROLL
      for (int j = 1; j < N; j++) of[0] += of[j];
      of[0] = sumRows(run, of[0]);
      if (lane < across) parts[(kind * across + lane) * run.warps + warp] = of[0];
    } else {
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) {
        of[j] = sumRows(run, of[j]);
        if (lane < across) parts[(kind * run.channels + lane * N + j) * run.warps + warp] = of[j];
      }
    }
  }
  __syncthreads();
  const int t = int(threadIdx.x), sums = kKinds * run.groups;
  const int terms = run.entries() / run.groups * run.warps;
  for (int first = 0; first < sums; first += int(blockDim.x) / kAdders) {
    const int at = first + t / kAdders;
    float sum = 0;
    if (at < sums)
      for (int i = t % kAdders; i < terms; i += kAdders) sum += parts[at * terms + i];
    sum = sumAdders(sum);
    if (at < sums && t % kAdders == 0) totals[at] = sum;
  }
  __syncthreads();
}

/// A block that has its run to itself.
struct Alone {
  FIGMENT_DEVICE static int ranks() { return 1; }
  FIGMENT_DEVICE static int rank() { return 0; }
  FIGMENT_DEVICE static void sync() { __syncthreads(); }
  FIGMENT_DEVICE static float read(const Shared<float>& from, int i, int) { return from[i]; }
};

/// Calls f(rank) for each block that has a part of the run, four of which are read together.
template <class Exchange, class F>
FIGMENT_DEVICE void eachRank(F&& f) {
  const int ranks = Exchange::ranks();
  FIGMENT_UNROLL_BY(4)
  for (int rank = 0; rank < ranks; rank++) f(rank);
}

/// A block's part of a run.
struct RunPart {
  int64_t sample, run;
  int64_t firstPixel;
  int held;  ///< pixels

  template <class Exchange>
  FIGMENT_DEVICE RunPart(const Run& runs, const NormShape& shape, Exchange) {
    // In 32 bits, because nothing is loaded before it is known.
    const uint32_t task = blockIdx.x / uint32_t(Exchange::ranks());
    const uint32_t ofSample = uint32_t(runs.ofSample);
    sample = task / ofSample;
    run = task % ofSample;
    firstPixel = Exchange::rank() * runs.pixels;
    const int64_t left = shape.spatial - firstPixel;
    held = int(left < runs.pixels ? left : runs.pixels);
  }
};

/// From each block's moments of groups, own[3·group + …] = centre, mean of what exceeds it, squares
/// about the mean: merged[3·group + …] = mean, what f32 had no room for in it, rstd. Sets the
/// call's results. All threads of the cluster call it; all may read `merged` afterwards.
template <class Exchange>
FIGMENT_DEVICE void mergeMoments(const NormForward<float>& call, const Run& run,
                                 const RunPart& part, const Shared<float>& own,
                                 const Shared<float>& merged) {
  const NormShape& shape = call.shape;
  Exchange::sync();
  for (int g = int(threadIdx.x); g < run.groups; g += int(blockDim.x)) {
    const float origin = Exchange::read(own, 3 * g, 0);
    const float count = float(shape.spatial) * float(run.width);
    const auto countOf = [&](int rank) {
      const int64_t more = shape.spatial - rank * run.pixels;
      return float(more < run.pixels ? more : run.pixels) * float(run.width);
    };
    const auto aboveOrigin = [&](int rank) {
      return Exchange::read(own, 3 * g, rank) - origin + Exchange::read(own, 3 * g + 1, rank);
    };
    float above = 0, total = 0;
    eachRank<Exchange>([&](int rank) { above += countOf(rank) * aboveOrigin(rank); });
    above /= count;
    eachRank<Exchange>([&](int rank) {
      const float d = aboveOrigin(rank) - above;
      total += Exchange::read(own, 3 * g + 2, rank) + countOf(rank) * d * d;
    });
    const float variance = total / count, rstd = 1.0f / sqrtf(variance + call.eps);
    const float mean = origin + above;
    merged[3 * g] = mean;
    merged[3 * g + 1] = above - (mean - origin);
    merged[3 * g + 2] = rstd;
    if (Exchange::rank() == 0) {
      const int64_t group = part.sample * shape.groups + part.run * run.groups + g;
      call.setMoments(group, mean, variance, rstd);
    }
  }
  // Also before a block ends, for the others read from it.
  Exchange::sync();
}

#endif

}  // namespace figment::cuda
