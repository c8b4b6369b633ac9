// Products of attention on matrix tiles, made step by step so that exponentials stand between them:
// vectors and tiles work at the same time, as far ahead as the processor looks. Include only from
// files compiled for one instruction set.
#pragma once

#include "../gemm/matrix_tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// A product of packed rows and columns that adds to, or replaces, a kBlock × kBlock of sums.
struct UnitProduct {
  const uint16_t *a, *b;
  int64_t aStep, bStep;  ///< numbers from one step of K to the next
  int64_t aPart, bPart;  ///< numbers from one part of a factor to the next
  int64_t steps;
  float* sums;
  int64_t step;           ///< floats from row to row of sums
  bool first;             ///< replaces
  int64_t remainder = 0;  ///< further steps, of parts side by side, aPart and bPart apart
};

/// Sums that the tiles hold and memory does not yet. Each tile of them is stored just before it
/// begins the next product, while the tiles multiply on with the others.
struct OpenSums {
  float* sums;
  int64_t step;
  int rows = 0, columns = 0;  ///< tiles of them; none if there are no such sums

  template <int kTile, class Tiles>
  FIGMENT_INLINE void store(Tiles& tiles) const {
    constexpr int kRow = kTile / 2, kColumn = kTile % 2;
    if (kRow < rows && kColumn < columns)
      tiles.template store<kTile>(sums + kRow * kSide * step + kColumn * kSide,
                                  step * int64_t(sizeof(float)));
  }
  /// Stores all.
  template <class Tiles>
  FIGMENT_INLINE void close(Tiles& tiles) {
    store<0>(tiles);
    store<1>(tiles);
    store<2>(tiles);
    store<3>(tiles);
    *this = {};
  }
};

/// Stores a tile of the sums before, and zeroes it or loads it with its own.
template <int kTile, bool kNeeded, class Tiles>
FIGMENT_INLINE void beginSums(Tiles& tiles, const UnitProduct& p, const OpenSums& open) {
  open.template store<kTile>(tiles);
  if constexpr (!kNeeded) return;
  if (p.first)
    tiles.template zero<kTile>();
  else
    tiles.template load<kTile>(p.sums + kTile / 2 * kSide * p.step + kTile % 2 * kSide,
                               p.step * int64_t(sizeof(float)));
}

/// The factor of a product that passes by: it comes from the second-level cache, by loads past the
/// first, which it would take from the other factor and from what is done between.
enum class Passing { a, b };

/// What stands between the steps of products. Much of it reads and writes through the second-level
/// cache as well: then a step's first tiles are asked for before it, and the passing factor's are
/// loaded for three terms of six and the other's for four. (With little the first loses as much as
/// it gains with much.)
enum class Beside { little, much };

template <int kTile, bool kPasses, class Tiles>
FIGMENT_INLINE void loadFactor(Tiles& tiles, const uint16_t* from) {
  if constexpr (kPasses)
    tiles.template stream<kTile>(from, kRowBytes);
  else
    tiles.template load<kTile>(from, kRowBytes);
}

/// Makes a product of kRows by kColumns tiles of sums, of which the second ones may not be needed,
/// and calls between() after each step of K of each term. Its sums stay open.
template <int kParts, int kRows, int kColumns, Passing kPassing, Beside kBeside = Beside::little,
          class Tiles, class Between>
FIGMENT_INLINE void multiply(Tiles& tiles, const UnitProduct& p, OpenSums& open,
                             Between&& between) {
  constexpr bool kRight = kColumns == 2, kLower = kRows == 2, kCorner = kRight && kLower;
  constexpr bool kPassesA = kPassing == Passing::a, kPassesB = kPassing == Passing::b;
  using Terms = Terms<kParts>;
  const auto step = [&](const uint16_t* a, const uint16_t* b, bool newA, bool newB, bool begins) {
    if (begins) beginSums<0, true>(tiles, p, open);
    if (newA) loadFactor<4, kPassesA>(tiles, a);
    if (newB) loadFactor<6, kPassesB>(tiles, b);
    // What stands between may read the sums before, of which a first step stores the last at its
    // end.
    if (kBeside == Beside::much && !begins) between();
    tiles.template dot<0, 4, 6>();
    if (begins) beginSums<1, kRight>(tiles, p, open);
    if (kRight && newB) loadFactor<7, kPassesB>(tiles, b + kTile);
    if constexpr (kRight) tiles.template dot<1, 4, 7>();
    if (begins) beginSums<2, kLower>(tiles, p, open);
    if (kLower && newA) loadFactor<5, kPassesA>(tiles, a + kTile);
    if constexpr (kLower) tiles.template dot<2, 5, 6>();
    if (begins) beginSums<3, kCorner>(tiles, p, open);
    if constexpr (kCorner) tiles.template dot<3, 5, 7>();
    if (begins) open = {p.sums, p.step, kRows, kColumns};
    if (kBeside == Beside::little || begins) between();
  };
  constexpr bool kTurned = kBeside == Beside::much && kPassesB;
  const auto& ofA = kTurned ? Terms::kB : Terms::kA;
  const auto& ofB = kTurned ? Terms::kA : Terms::kB;
  const uint16_t *a = p.a, *b = p.b;
  for (int64_t k = 0; k < p.steps; k++, a += p.aStep, b += p.bStep) {
    for (int term = 0; term < Terms::kCount; term++)
      step(a + ofA[term] * p.aPart, b + ofB[term] * p.bPart,
           term == 0 || ofA[term] != ofA[term - 1], term == 0 || ofB[term] != ofB[term - 1],
           term == 0 && k == 0);
  }
  if constexpr (kParts > 1)
    for (int64_t k = 0; k < p.remainder; k++, a += p.aPart, b += p.bPart)
      step(a, b, true, true, false);
}

/// Spreads a number of lines of other work over steps of products.
class Pace {
 public:
  FIGMENT_INLINE Pace(int64_t lines, int64_t steps)
      : lines_(lines), perStep_(ceilDiv(lines << kShift, larger(1, steps))) {}
  /// work(from, to) with the lines of the next step.
  template <class Work>
  FIGMENT_INLINE void next(Work&& work) {
    due_ += perStep_;
    const int64_t to = smaller(lines_, due_ >> kShift);
    work(done_, to);
    done_ = to;
  }
  /// The same with those that are left.
  template <class Work>
  FIGMENT_INLINE void finish(Work&& work) {
    if (done_ < lines_) work(done_, lines_);
    done_ = lines_;
  }

 private:
  static constexpr int kShift = 16;  // of fractions of lines
  int64_t lines_, perStep_, due_ = 0, done_ = 0;
};

}  // namespace figment::FIGMENT_ISA::tiles
