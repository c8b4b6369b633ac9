// Tiles of heads in shared memory as the copy engine brings them for wgmma: rows of 128 bytes (64
// elements), swizzled; wider heads are in groups of 64 elements, one after the other. Include from
// *.sm90a.cu files only.
#pragma once

#include "../../device/hopper_held.h"
#include "../gemm/tensor_map.h"
#include "problem.h"

namespace figment::cuda::wgmma_tiles {

constexpr int kRowBytes = 128;
constexpr int kGroup = 64;
/// Tiles begin at multiples of it.
constexpr int kAlignment = 1024;

/// A tile of so many rows of heads of kDim elements.
template <int kRowsOfTile, int kDim>
struct Tile {
  static constexpr int kRows = kRowsOfTile;
  static constexpr int kGroups = ceilDiv(kDim, kGroup);
  static constexpr int kGroupBytes = kRows * kRowBytes;
  static constexpr int kBytes = kGroupBytes * kGroups;

  /// Begins to copy rows from `row` on; the barrier has been told of kBytes.
  FIGMENT_DEVICE static void copy(uint32_t to, const CUtensorMap& map, uint32_t barrier, int head,
                                  int row) {
    for (int g = 0; g < kGroups; g++)
      hopper::copyBox(to + g * kGroupBytes, map, barrier, g * kGroup, head, row);
  }
  /// The 16 elements of each row that step `step` along a head sums over.
  FIGMENT_DEVICE static uint64_t along(uint32_t tile, int step) {
    return hopper::operandAt(tile + step / 4 * kGroupBytes + step % 4 * 32, kGroupBytes);
  }
  /// Rows from `from` on become zeros, by each warpgroup for itself: they belong to positions that
  /// do not count, which may be anything, and a weight of 0 does not make everything 0.
  FIGMENT_DEVICE static void clear(uint32_t tile, int from) {
    const int thread = int(threadIdx.x) % hopper::kWarpgroup;
    const int pieces = (kRows - from) * (kRowBytes / 16);
    for (int g = 0; g < kGroups; g++)
      for (int i = thread; i < pieces; i += hopper::kWarpgroup)
        hopper::storeZeros16(tile + g * kGroupBytes + from * kRowBytes + i * 16);
  }
};

/// Of q, k, v and what has their shape, [b·length, h, d], in boxes of so many rows.
inline CUtensorMap headsMap(const Operand& x, const AttentionProblem& p, int64_t length, int rows) {
  return boxMap(x.data, x.format == Format::f16, {p.d, p.h, p.b * length}, {p.d, p.h * p.d}, 1,
                rows);
}

}  // namespace figment::cuda::wgmma_tiles
