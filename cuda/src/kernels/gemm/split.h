// Products of f32 factors at precision "fast" on tensor cores: each factor is split into two bf16
// parts, high = bf16(x) and low = bf16(x − high), and of the products of parts the smallest, low ·
// low, is left out. That costs a term at most 2⁻¹⁶ of its size, rounding the low parts as much
// again, and sums of many terms less than 10⁻⁵ of their norm.
#pragma once

#include "staged.h"

namespace figment::cuda {

/// The lines of a tile's low parts follow those of its high ones.
struct SplitArithmetic {
  using Element = Bf16;
  static constexpr int kParts = 2;

  template <int kLines, int kLength>
  FIGMENT_DEVICE static void settle(const Shared<Bf16>& tile, int line, int column,
                                    const float (&values)[8]) {
    uint32_t high[4], low[4];
    FIGMENT_UNROLL
    for (int w = 0; w < 4; w++) {
      const float x = values[2 * w], y = values[2 * w + 1];
      high[w] = packPair<Bf16>(x, y);
      low[w] = packPair<Bf16>(rest(x, high[w] << 16), rest(y, high[w] & 0xffff0000u));
    }
    const int place = tileIndex<kLength>(line, column);
    tile.template store<uint4>(place, make_uint4(high[0], high[1], high[2], high[3]));
    tile.template store<uint4>(place + kLines * kLength,
                               make_uint4(low[0], low[1], low[2], low[3]));
  }

  template <class L, class Tile>
  FIGMENT_DEVICE static void multiply(WarpSums<Tile>& sums, const Shared<Bf16>& tileA,
                                      const Shared<Bf16>& tileB, int warpRow, int warpColumn,
                                      int lane) {
    constexpr int kLengthA = L::kAlongA ? Tile::kDepth : Tile::kRows;
    constexpr int kLengthB = L::kAlongB ? Tile::kDepth : Tile::kColumns;
    constexpr int kDown = Tile::kDown;
    const auto lowA = tileA.from(Tile::kSizeA), lowB = tileB.from(Tile::kSizeB);
    FIGMENT_UNROLL
    for (int k = 0; k < Tile::kDepth; k += 16) {
      uint32_t high[kDown][4], low[kDown][4];
      FIGMENT_UNROLL
      for (int i = 0; i < kDown; i++) {
        loadA<L::kAlongA, kLengthA>(high[i], tileA, warpRow + i * 16, k, lane);
        loadA<L::kAlongA, kLengthA>(low[i], lowA, warpRow + i * 16, k, lane);
      }
      FIGMENT_UNROLL
      for (int j = 0; j < Tile::kAcross; j += 2) {
        uint32_t highWords[4], lowWords[4];
        loadB<L::kAlongB, kLengthB>(highWords, tileB, warpColumn + j * 8, k, lane);
        loadB<L::kAlongB, kLengthB>(lowWords, lowB, warpColumn + j * 8, k, lane);
        FIGMENT_UNROLL
        for (int q = 0; q < 2; q++) {
          const uint32_t highPart[2] = {highWords[2 * q], highWords[2 * q + 1]};
          const uint32_t lowPart[2] = {lowWords[2 * q], lowWords[2 * q + 1]};
          FIGMENT_UNROLL
          for (int i = 0; i < kDown; i++) mma16816<Bf16>(sums[i][j + q], low[i], highPart);
          FIGMENT_UNROLL
          for (int i = 0; i < kDown; i++) mma16816<Bf16>(sums[i][j + q], high[i], lowPart);
          FIGMENT_UNROLL
          for (int i = 0; i < kDown; i++) mma16816<Bf16>(sums[i][j + q], high[i], highPart);
        }
      }
    }
  }

 private:
  /// x without its high part; nothing is left of infinities.
  FIGMENT_DEVICE static float rest(float x, uint32_t highBits) {
    const float high = bitsToFloat(highBits);
    return x == high ? 0.0f : x - high;
  }
};

}  // namespace figment::cuda
