// Kernels that hold a row in registers: a team of threads, a warp or a block, reads a row once.
#pragma once

#include "vectors.h"
#include "warp.h"

namespace figment::cuda {

constexpr int kRowThreads = 256;

/// Threads that share a row. Blocks of kRowThreads hold kRowThreads / kTeam teams.
template <int kTeam>
class Team {
 public:
  static constexpr int kTeams = kRowThreads / kTeam;

  /// `shared` has kRowThreads / kWarp floats; teams of one warp have no use for them.
  FIGMENT_DEVICE explicit Team(const Shared<float>& shared) : shared_(shared) {}

  FIGMENT_DEVICE static int member() { return int(threadIdx.x) % kTeam; }
  /// The row of a team where rows follow the teams of the grid.
  FIGMENT_DEVICE static int64_t number() {
    return blockInGrid() * kTeams + int(threadIdx.x) / kTeam;
  }
  FIGMENT_DEVICE float sum(float value) const { return reduce<Sum>(value, 0); }
  FIGMENT_DEVICE float greatest(float value) const { return reduce<Maximum>(value, -INFINITY); }

 private:
  template <class Combine>
  FIGMENT_DEVICE float reduce(float value, float identity) const {
    const Combine combine;
    value = warpReduce<Combine>(value);
    if constexpr (kTeam > kWarp) {
      if (laneInWarp() == 0) shared_[warpInBlock()] = value;
      __syncthreads();
      value = laneInWarp() < kTeam / kWarp ? float(shared_[laneInWarp()]) : identity;
      value = warpReduce<Combine>(value, combine);
      __syncthreads();
    }
    return value;
  }
  Shared<float> shared_;
};

/// This thread's part of a row: kVectors vectors of N, a team's width apart.
template <int N, int kVectors, int kTeam>
struct HeldRow {
  float values[kVectors][N];

  FIGMENT_DEVICE static int64_t at(int v) { return int64_t(v * kTeam + Team<kTeam>::member()) * N; }

  /// Of `cols` elements from `base` on; `filler` stands beyond them.
  FIGMENT_DEVICE void load(const Floats<float>& x, int64_t base, int64_t cols, float filler) {
    Raw<N> raw[kVectors];
    FIGMENT_UNROLL
    for (int v = 0; v < kVectors; v++)
      if (at(v) < cols) raw[v] = loadRaw<N>(x, base + at(v));
    FIGMENT_UNROLL
    for (int v = 0; v < kVectors; v++) {
      if (at(v) < cols) {
        widenRaw<N>(raw[v], x.format, values[v]);
      } else {
        FIGMENT_UNROLL
        for (int j = 0; j < N; j++) values[v][j] = filler;
      }
    }
  }
  /// Calls f(value, v, j) for all that this thread holds of the row.
  template <class F>
  FIGMENT_DEVICE void each(int64_t cols, F&& f) {
    FIGMENT_UNROLL
    for (int v = 0; v < kVectors; v++) {
      if (at(v) >= cols) continue;
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) f(values[v][j], v, j);
    }
  }
  FIGMENT_DEVICE void store(const FloatResults<float>& y, int64_t base, int64_t cols) const {
    FIGMENT_UNROLL
    for (int v = 0; v < kVectors; v++)
      if (at(v) < cols) storeFloats<N>(y, base + at(v), values[v]);
  }
};

/// Longest row that a block holds.
constexpr int64_t kLongestRow = int64_t{kRowThreads} * 32;

/// Calls f.template operator()<N, kVectors, kTeam>() with what suits rows of `cols`.
template <class F>
void withRows(int64_t rows, int64_t cols, int n, F&& f) {
  constexpr int64_t kFewRows = 1024;  // a warp for each would leave a GPU idle
  withVectors(n, [&]<int N>() {
    constexpr int kShort = 8 / N, kLong = 32 / N;
    if (cols <= 8 * kWarp) return f.template operator()<N, kShort, kWarp>();
    if (cols <= 32 * kWarp && rows >= kFewRows) return f.template operator()<N, kLong, kWarp>();
    if (cols <= 8 * kRowThreads) return f.template operator()<N, kShort, kRowThreads>();
    return f.template operator()<N, kLong, kRowThreads>();
  });
}
/// Blocks for `rows` rows.
template <int kTeam>
Grid gridOfRows(int64_t rows) {
  return blocksFor(ceilDiv(rows, int64_t(Team<kTeam>::kTeams)));
}

/// Preference of kernels that hold rows.
template <class P>
int supportsHeldRows(const OpCall& call) {
  return call.as<P>().cols <= kLongestRow ? supportsFloats(call) : -1;
}

}  // namespace figment::cuda
