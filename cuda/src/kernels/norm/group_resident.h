// groupNorm of groups that shared memory holds: x is read once and y written once. A task is a run
// of neighbouring groups of one sample, whose channels make vectors and fill whole sectors of
// memory; one block holds all its pixels, or the blocks of a cluster share them and exchange
// moments.
#pragma once

#include "../../device/columns.h"
#include "../../device/functions.h"
#include "affine.h"

namespace figment::cuda {

constexpr int kResidentThreads = 512;
constexpr int kMostRunGroups = 64;

/// How a call is cut; `ranks` is 0 where shared memory does not hold it.
struct ResidentPlan {
  int vector = 0;      ///< elements of 16 bytes
  int run = 0;         ///< channels of a task
  int ranks = 0;       ///< blocks of a task
  int64_t pixels = 0;  ///< of a block
  int64_t sharedBytes = 0;

  int across() const { return run / vector; }

  /// With one block of at most `budget` bytes for a task, or the fewest up to `mostRanks` that keep
  /// within `comfortable` bytes.
  ResidentPlan(const OpCall& call, int mostRanks, int64_t comfortable, int64_t budget) {
    const auto& p = call.as<GroupNormParams>();
    const Format format = call.in[0].format;
    const int64_t size = int64_t(formatBytes(format)), wide = 16 / size;
    // Results in f32 of 16-bit operands would make two vectors of one.
    if (call.in[0].empty() || (size == 2 && call.out[0].format == Format::f32)) return;
    const int64_t width = p.c / p.groups;
    for (int64_t groups = 1; groups <= p.groups && groups <= kMostRunGroups; groups++) {
      const int64_t channels = groups * width;
      if (p.groups % groups != 0 || channels % wide != 0 || channels / wide > 64) continue;
      for (int64_t blocks = 1; blocks <= mostRanks; blocks *= 2) {
        const int64_t held = ceilDiv(p.spatial, blocks);
        const int64_t bytes = held * channels * size + reservedBytes(int(wide));
        if (bytes > (blocks < mostRanks ? comfortable : budget) || held * (blocks - 1) >= p.spatial)
          continue;
        vector = int(wide);
        run = int(channels);
        ranks = int(blocks);
        pixels = held;
        sharedBytes = bytes;
        break;
      }
      const int64_t runBytes = channels * size;
      if (ranks > 0 && runBytes >= 64 && runBytes % 32 == 0) break;
    }
  }
  /// Sums of threads; totals, own and merged moments of groups.
  static int64_t reservedBytes(int vector) {
    return (int64_t(kResidentThreads) * vector + 8 * kMostRunGroups) * int64_t(sizeof(float));
  }
};

struct Resident {
  NormForward<float> call;
  int run, across;
  int64_t pixels, runs;  ///< pixels of a block, runs of a sample
};

/// A block that has its task to itself.
struct Alone {
  static constexpr int kRanks = 1;
  FIGMENT_DEVICE static int rank() { return 0; }
  FIGMENT_DEVICE static void sync() { __syncthreads(); }
  FIGMENT_DEVICE static float read(const Shared<float>& from, int i, int) { return from[i]; }
};

/// Sums of the groups of a run over the block's threads, each of which brings one for each channel
/// of its vector. All threads call it; all may read `totals` afterwards.
template <int N>
FIGMENT_DEVICE void sumGroups(const Resident& k, const float (&values)[N], bool active,
                              const Shared<float>& sums, const Shared<float>& totals) {
  const int t = int(threadIdx.x), down = kResidentThreads / k.across;
  const int width = int(k.call.shape.width()), groups = k.run / width;
  if (active) {
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) sums[j * kResidentThreads + t] = values[j];
  }
  __syncthreads();
  for (int group = warpInBlock(); group < groups; group += kResidentThreads / kWarp) {
    float sum = 0;
    for (int i = laneInWarp(); i < width * down; i += kWarp) {
      const int channel = group * width + i % width;
      sum += sums[channel % N * kResidentThreads + i / width * k.across + channel / N];
    }
    sum = warpSum(sum);
    if (laneInWarp() == 0) totals[group] = sum;
  }
  __syncthreads();
}

template <int N, class Exchange>
FIGMENT_DEVICE void normaliseResident(const Resident& k) {
  FIGMENT_DYNAMIC_SHARED(dynamic);
  const NormForward<float>& call = k.call;
  const NormShape& shape = call.shape;
  const int t = int(threadIdx.x), column = t % k.across, down = kResidentThreads / k.across;
  const bool active = t / k.across < down;
  const int width = int(shape.width()), groups = k.run / width;
  const int vectors = int(k.pixels) * k.across;

  const auto data = dynamic.template view<uint4>(0, vectors);
  const auto floats =
      dynamic.template view<float>(vectors * 16, kResidentThreads * N + 8 * kMostRunGroups);
  const auto totals = floats.from(kResidentThreads * N);
  const auto own = totals.from(kMostRunGroups);         // for each group: centre, rest, squares
  const auto merged = totals.from(4 * kMostRunGroups);  // for each group: mean, rest, rstd

  const int64_t task = blockInGrid() / Exchange::kRanks;
  const int64_t sample = task / k.runs, run = task % k.runs;
  const int64_t firstPixel = Exchange::rank() * k.pixels;
  const int64_t left = shape.spatial - firstPixel;
  const int held = int(left < k.pixels ? left : k.pixels);
  const int64_t channel = run * k.run + column * N;
  const auto at = [&](int pixel) {
    return (sample * shape.spatial + firstPixel + pixel) * shape.c + channel;
  };

  // Each thread copies what it reads itself.
  const Global<const uint4> x(static_cast<const uint4*>(call.x.data), call.x.count / N);
  if (active)
    for (int p = t / k.across; p < held; p += down)
      copyAsync16(data, p * k.across + column, x, at(p) / N);
  commitCopies();
  waitForCopies<0>();
  const auto eachPixel = [&](auto&& f) {
    if (!active) return;
    FIGMENT_UNROLL_BY(4)
    for (int p = t / k.across; p < held; p += down) {
      const uint4 all = data.template load<uint4>(p * k.across + column);
      float values[N];
      widenRaw<N>({{all.x, all.y, all.z, all.w}}, call.x.format, values);
      f(p, values);
    }
  };

  float sum[N], rest[N], squares[N], center[N];
  FIGMENT_UNROLL
  for (int j = 0; j < N; j++) sum[j] = rest[j] = squares[j] = 0;
  eachPixel([&](int, const float(&values)[N]) {
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) sum[j] += values[j];
  });
  sumGroups<N>(k, sum, active, floats, totals);
  const float size = float(held) * float(width);
  FIGMENT_UNROLL
  for (int j = 0; j < N; j++) center[j] = totals[(column * N + j) / width] / size;
  if (t < groups) own[3 * t] = totals[t] / size;
  eachPixel([&](int, const float(&values)[N]) {
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) {
      const float d = values[j] - center[j];
      rest[j] += d;
      squares[j] += d * d;
    }
  });
  __syncthreads();
  sumGroups<N>(k, rest, active, floats, totals);
  if (t < groups) own[3 * t + 1] = totals[t] / size;
  __syncthreads();
  sumGroups<N>(k, squares, active, floats, totals);
  if (t < groups) own[3 * t + 2] = totals[t] - size * own[3 * t + 1] * own[3 * t + 1];
  Exchange::sync();

  if (t < groups) {
    const float origin = Exchange::read(own, 3 * t, 0), count = float(shape.count());
    const auto countOf = [&](int rank) {
      const int64_t more = shape.spatial - rank * k.pixels;
      return float(more < k.pixels ? more : k.pixels) * float(width);
    };
    const auto aboveOrigin = [&](int rank) {
      return Exchange::read(own, 3 * t, rank) - origin + Exchange::read(own, 3 * t + 1, rank);
    };
    float above = 0, total = 0;
    for (int rank = 0; rank < Exchange::kRanks; rank++) above += countOf(rank) * aboveOrigin(rank);
    above /= count;
    for (int rank = 0; rank < Exchange::kRanks; rank++) {
      const float d = aboveOrigin(rank) - above;
      total += Exchange::read(own, 3 * t + 2, rank) + countOf(rank) * d * d;
    }
    const float mean = origin + above, rstd = 1.0f / sqrtf(total / count + call.eps);
    merged[3 * t] = mean;
    merged[3 * t + 1] = above - (mean - origin);
    merged[3 * t + 2] = rstd;
    if (Exchange::rank() == 0) {
      const int64_t group = sample * shape.groups + run * groups + t;
      call.mean.set(group, mean);
      call.second.set(group, rstd);
    }
  }
  // Also before a block ends, for the others read from it.
  Exchange::sync();
  if (!active) return;
  float factor[N], term[N];
  loadAny<N>(call.gamma, channel, factor);
  loadAny<N>(call.beta, channel, term);
  FIGMENT_UNROLL
  for (int j = 0; j < N; j++) {
    const int group = (column * N + j) / width;
    center[j] = merged[3 * group];
    factor[j] *= merged[3 * group + 2];
    term[j] -= merged[3 * group + 1] * factor[j];
  }
  eachPixel([&](int p, float(&values)[N]) {
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) values[j] = (values[j] - center[j]) * factor[j] + term[j];
    if (call.silu) {
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) values[j] *= sigmoidFast(values[j]);
    }
    storeFloats<N>(call.y, at(p), values);
  });
}

/// The kernels' argument. A call whose addresses are not made for 16 bytes has none.
inline bool residentOf(const OpCall& call, const ResidentPlan& plan, Resident& k) {
  const auto aligned = [](const Operand& operand) {
    return reinterpret_cast<uintptr_t>(operand.data) % 16 == 0;
  };
  if (!aligned(call.in[0]) || !aligned(call.in[1]) || !aligned(call.in[2]) || !aligned(call.out[0]))
    return false;
  k = {groupNormOf<float>(call), plan.run, plan.across(), plan.pixels,
       call.as<GroupNormParams>().c / plan.run};
  return true;
}

}  // namespace figment::cuda
