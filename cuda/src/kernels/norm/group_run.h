// How a block works on a run: neighbouring groups of one sample, whose channels make vectors. A
// warp takes a row of vectors, or some rows beside each other, lanes that are left over idle; so
// sums over pixels are shuffles first, then few numbers for each warp. Blocks that share a run's
// pixels exchange moments.
#pragma once

#include <type_traits>

#include "../../device/four.h"
#include "../../device/vectors.h"
#include "../../device/warp.h"
#include "../gemm/divisor.h"
#include "affine.h"
#include "group_split.h"

namespace figment::cuda {

/// Blocks, and warps, that keep every GPU busy.
constexpr int64_t kBusyBlocks = 128, kBusyWarps = 1024;
/// Tasks whose blocks, several for each at most, one row of a grid has.
constexpr int64_t kMostTasks = int64_t{1} << 27;
/// Lanes that add up what the warps have of one sum, or the blocks of a cluster, which are no more.
constexpr int kAdders = 8;
/// The first of a thread's vectors, of which so many parts are made, give the centre that squares
/// are taken about: near enough to the mean of a block's pixels (at most √3 standard deviations
/// away), and known before the last ones are there.
constexpr int kCenterParts = 4;

struct Run {
  int channels = 0, groups = 0;
  int width = 0;       ///< channels of a group
  int across = 0;      ///< vectors of a pixel: at most a warp
  int perWarp = 0;     ///< pixels that a warp takes at once
  int halves = 0;      ///< the greatest power of two below that, or 0
  int terms = 0;       ///< sums of one kind that a warp has of a group
  int warps = 0;       ///< of a block: a power of two
  bool whole = false;  ///< no vector belongs to two groups
  Divisor byAcross, byWidth, byRuns;
  int64_t pixels = 0;    ///< of a block
  int64_t ofSample = 0;  ///< runs of a sample

  Run() = default;
  Run(int64_t channels, int64_t width, int vector)
      : channels(int(channels)),
        groups(int(channels / width)),
        width(int(width)),
        across(int(channels / vector)),
        perWarp(kWarp / across),
        terms(int(width)),
        whole(width % vector == 0),
        byAcross(across),
        byWidth(width) {
    for (int step = 1; step < perWarp; step *= 2) halves = step;
    if (whole) terms /= vector;
  }

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

/// Calls f(run) for runs of more and more groups, up to the first of as much memory as two sectors,
/// once f has answered that it has a use for one. Neighbours that share a sector run at about the
/// same time, and find it in L2.
template <class F>
void eachRun(const NormShape& shape, Format x, int vector, F&& f) {
  const int64_t width = shape.width(), size = int64_t(formatBytes(x));
  bool used = false;
  for (int64_t groups = 1; groups <= shape.groups && groups * width <= kWarp * vector; groups++) {
    const int64_t channels = groups * width, bytes = channels * size;
    if (shape.groups % groups != 0 || channels % vector != 0) continue;
    Run run(channels, width, vector);
    run.ofSample = shape.groups / groups;
    run.byRuns = Divisor(run.ofSample);
    if (shape.n * run.ofSample > kMostTasks) continue;
    used = f(run) || used;
    if (used && bytes >= 64) return;
  }
}

/// Elements of 16 bytes, which kernels of a format read x as.
template <Format kFormat>
constexpr int kRunVector = kFormat == Format::f32 ? 4 : 8;

/// Calls start.operator()<kFormat>() for a call's x.
template <class Start>
void withRunFormat(Format x, Start&& start) {
  if (x == Format::bf16) return start.template operator()<Format::bf16>();
  if (x == Format::f16) return start.template operator()<Format::f16>();
  start.template operator()<Format::f32>();
}

#ifdef FIGMENT_KERNELS

template <Format kFormat>
FIGMENT_DEVICE Global<const uint4> runVectors(const Floats<float>& x) {
  return {static_cast<const uint4*>(x.data), x.count / kRunVector<kFormat>};
}
template <Format kFormat>
FIGMENT_DEVICE void widenVector(const uint4& all, float (&values)[kRunVector<kFormat>]) {
  widenRaw<kRunVector<kFormat>>({{all.x, all.y, all.z, all.w}}, kFormat, values);
}

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
    const int lane = laneInWarp(), down = int(run.byAcross.quotient(uint32_t(lane)));
    column = lane - down * run.across;
    row = warpInBlock() * run.perWarp + down;
    active = down < run.perWarp;
    group = int(run.byWidth.quotient(uint32_t(column * N)));
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

/// The sums of columns over the pixels that a warp takes at once, in the lanes of the first.
template <int N>
FIGMENT_DEVICE void sumRows(const Run& run, float (&values)[N]) {
  const int lane = laneInWarp(), lanes = run.perWarp * run.across;
  FIGMENT_UNROLL_BY(1)
  for (int step = run.halves; step > 0; step /= 2) {
    const int below = step * run.across;
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) {
      const float other = __shfl_down_sync(kWholeWarp, values[j], unsigned(below));
      if (lane + below < lanes) values[j] += other;
    }
  }
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
  const int lane = laneInWarp(), across = run.across, entries = run.entries();
  FIGMENT_UNROLL
  for (int kind = 0; kind < kKinds; kind++) {
    const int to = (kind * run.warps + warpInBlock()) * entries + lane;
    if (run.whole) {
      float sum[1] = {values[kind][0]};
      FIGMENT_UNROLL
      for (int j = 1; j < N; j++) sum[0] += values[kind][j];
      sumRows<1>(run, sum);
      if (lane < across) parts[to] = sum[0];
    } else {
      sumRows<N>(run, values[kind]);
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++)
        if (lane < across) parts[to + j * across] = values[kind][j];
    }
  }
  __syncthreads();
  // Adders take a warp's sums each, or several those of one.
  const int t = int(threadIdx.x), sums = kKinds * run.groups;
  const int apart = smaller(run.warps, kAdders), shift = __popc(uint32_t(apart - 1));
  const int warp = t & (apart - 1), term = t % kAdders >> shift, shared = kAdders >> shift;
  for (int first = 0; first < sums; first += int(blockDim.x) / kAdders) {
    const int at = first + t / kAdders, kind = at >= run.groups;
    float sum = 0;
    for (int w = warp; at < sums && w < run.warps; w += apart) {
      const int row = (kind * run.warps + w) * entries;
      for (int i = term; i < run.terms; i += shared) {
        const int entry = (at - kind * run.groups) * run.terms + i;
        sum += parts[row + (run.whole ? entry : entry % N * across + entry / N)];
      }
    }
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
  FIGMENT_DEVICE static void arrive() {}
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
    const uint32_t of = runs.byRuns.quotient(task);
    sample = of;
    run = runs.byRuns.rest(task, of);
    firstPixel = Exchange::rank() * runs.pixels;
    const int64_t left = shape.spatial - firstPixel;
    held = int(left < runs.pixels ? left : runs.pixels);
  }
};

/// Adds to a block's centres of groups, own[3·group], the mean of what exceeds them and the squares
/// about the mean, from totals[kind·groups + group] of what exceeds them and of its squares; in the
/// threads that read them where no other block shares the run.
FIGMENT_DEVICE void leaveMoments(const Run& run, const Shared<float>& totals, float inverse,
                                 const Shared<float>& own) {
  for (int g = int(threadIdx.x); g < run.groups; g += int(blockDim.x)) {
    const float rest = totals[g] * inverse;
    own[3 * g + 1] = rest;
    own[3 * g + 2] = totals[run.groups + g] - totals[g] * rest;
  }
}

/// merged[3·group + …] = mean, what f32 had no room for in it, rstd, of all blocks' moments. Sets
/// the call's results. All threads of the cluster call it; all may read `merged` afterwards. A
/// cluster's blocks may end after Exchange::wait().
template <class Exchange>
FIGMENT_DEVICE void mergeMoments(const NormForward<float>& call, const Run& run,
                                 const RunPart& part, const Shared<float>& own,
                                 const Shared<float>& merged) {
  constexpr bool kAlone = std::is_same_v<Exchange, Alone>;
  constexpr int kLanes = kAlone ? 1 : kAdders;
  const NormShape& shape = call.shape;
  if (!kAlone) Exchange::sync();
  const int t = int(threadIdx.x), rank = t % kLanes;
  const float width = float(run.width), all = float(shape.spatial) * width;
  const auto sumRanks = [](float value) { return kAlone ? value : sumAdders(value); };
  for (int first = 0; first < run.groups; first += int(blockDim.x) / kLanes) {
    const int g = first + t / kLanes;
    const bool there = g < run.groups && rank < Exchange::ranks();
    float origin = 0, above = 0, squares = 0, count = 0;
    if (there) {
      const int64_t left = shape.spatial - rank * run.pixels;
      count = float(smaller(left, run.pixels)) * width;
      origin = Exchange::read(own, 3 * g, 0);
      above = Exchange::read(own, 3 * g, rank) - origin + Exchange::read(own, 3 * g + 1, rank);
      squares = Exchange::read(own, 3 * g + 2, rank);
    }
    const float shift = sumRanks(count * above) / all, d = above - shift;
    const float variance = sumRanks(squares + count * d * d) / all;
    if (!there || rank > 0) continue;
    const float rstd = 1.0f / sqrtf(variance + call.eps), mean = origin + shift;
    merged[3 * g] = mean;
    merged[3 * g + 1] = shift - (mean - origin);
    merged[3 * g + 2] = rstd;
    if (Exchange::rank() == 0) {
      const int64_t group = part.sample * shape.groups + part.run * run.groups + g;
      call.setMoments(group, mean, variance, rstd);
    }
  }
  Exchange::arrive();
  __syncthreads();
}

#endif

}  // namespace figment::cuda
