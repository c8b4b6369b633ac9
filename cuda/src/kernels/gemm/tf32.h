// Products of f32 factors at precision "tf32" on tensor cores: each factor is rounded to 11
// significant bits, to nearest, which loses up to 2⁻¹¹ of it, so up to 2⁻¹⁰ + 2⁻²² of a term.
// Numbers of bf16 and f16 are taken as they are.
#pragma once

#include "staged.h"

namespace figment::cuda {

/// A tile of words in shared memory: lines of kLength, of which four at a time move. Their places
/// in a line are mixed so that these do not share banks: eight lines' along the depth, which are
/// read together, and else the lines of four depths, of which eight neighbours are.
template <int kLength>
FIGMENT_DEVICE int wordIndex(int line, int column) {
  const int vector = column / 4;
  const int mixed =
      kLength == 32 ? vector ^ (line & 7) : vector ^ (line & 3) * 2 ^ (vector / 8 & 1);
  return line * kLength + mixed * 4 + column % 4;
}

struct Tf32Arithmetic {
  using Element = uint32_t;
  static constexpr int kParts = 1;

  template <int kLines, int kLength>
  FIGMENT_DEVICE static void settle(const Shared<uint32_t>& tile, int line, int column,
                                    const float (&x)[8]) {
    FIGMENT_UNROLL
    for (int e = 0; e < 8; e += 4)
      tile.template store<uint4>(wordIndex<kLength>(line, column + e),
                                 make_uint4(roundTf32(x[e]), roundTf32(x[e + 1]),
                                            roundTf32(x[e + 2]), roundTf32(x[e + 3])));
  }

  /// `rounds`: the tiles hold f32, which is rounded on its way to the products.
  template <class L, class Tile, bool rounds = false>
  FIGMENT_DEVICE static void multiply(WarpSums<Tile>& sums, const Shared<uint32_t>& tileA,
                                      const Shared<uint32_t>& tileB, int warpRow, int warpColumn,
                                      int lane) {
    constexpr int kLengthA = L::kAlongA ? Tile::kDepth : Tile::kRows;
    constexpr int kLengthB = L::kAlongB ? Tile::kDepth : Tile::kColumns;
    FIGMENT_UNROLL_BY(1)
    for (int k = 0; k < Tile::kDepth; k += 8) {
      uint32_t a[Tile::kDown][4];
      FIGMENT_UNROLL
      for (int i = 0; i < Tile::kDown; i++)
        load<L::kAlongA, kLengthA, true, rounds>(a[i], tileA, warpRow + i * 16, k, lane);
      FIGMENT_UNROLL
      for (int j = 0; j < Tile::kAcross; j += 2) {
        uint32_t words[4];
        load<L::kAlongB, kLengthB, false, rounds>(words, tileB, warpColumn + j * 8, k, lane);
        FIGMENT_UNROLL
        for (int q = 0; q < 2; q++) {
          const uint32_t b[2] = {words[2 * q], words[2 * q + 1]};
          FIGMENT_UNROLL
          for (int i = 0; i < Tile::kDown; i++) mmaTf32(sums[i][j + q], a[i], b);
        }
      }
    }
  }

 private:
  /// Fragments of 16 lines of a factor from `line` and of 8 of depth from `k`: of line l / 4 and
  /// depth l % 4 for lane l, and eight lines or four of depth further on. The first two words are
  /// of both halves of lines with `linesFirst`, as in A's fragments, else of both of depth.
  template <bool depthInner, int kLength, bool linesFirst, bool rounds>
  FIGMENT_DEVICE static void load(uint32_t (&words)[4], const Shared<uint32_t>& tile, int line,
                                  int k, int lane) {
    const auto lines = [](int w) { return (linesFirst ? w % 2 : w / 2) * 8; };
    const auto depth = [](int w) { return (linesFirst ? w / 2 : w % 2) * 4; };
    if constexpr (depthInner) {
      const int word = lane / 8;
      loadMatrices(words, tile, wordIndex<kLength>(line + lines(word) + lane % 8, k + depth(word)));
    } else {
      FIGMENT_UNROLL
      for (int w = 0; w < 4; w++)
        words[w] = tile[wordIndex<kLength>(k + depth(w) + lane % 4, line + lines(w) + lane / 4)];
    }
    if constexpr (rounds) {
      FIGMENT_UNROLL
      for (uint32_t& word : words) word = roundTf32(bitsToFloat(word));
    }
  }
};

}  // namespace figment::cuda
