// Products of attention on matrix tiles, made step by step so that exponentials stand between them:
// vectors and tiles work at the same time, as far ahead as the processor looks. Include only from
// files compiled for one instruction set.
#pragma once

#include <type_traits>

#include "../gemm/matrix_tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// A product of packed rows and columns that is made step by step of K, so that other work can
/// stand between: it adds to, or replaces, a kBlock × kBlock of sums.
struct Product {
  const uint16_t *a, *b;
  int64_t aStep, bStep;  ///< numbers from one step of K to the next
  int64_t aPart, bPart;  ///< numbers from one part of a factor to the next
  int64_t steps;
  float* sums;
  int64_t step;                    ///< floats from row to row of sums
  bool first;                      ///< replaces
  bool narrowRows, narrowColumns;  ///< only the first tile of rows, or of columns, is needed
};

/// The products of parts of both factors that make theirs, small ones first: all that matter to
/// f32.
template <int kParts>
struct Terms;
template <>
struct Terms<1> {
  static constexpr int kCount = 1;
  static constexpr int8_t kA[kCount] = {0}, kB[kCount] = {0};
};
template <>
struct Terms<3> {
  static constexpr int kCount = 6;
  static constexpr int8_t kA[kCount] = {2, 1, 0, 0, 1, 0}, kB[kCount] = {0, 1, 2, 1, 0, 0};
};

/// Step k of all terms' steps of K.
template <int kParts, int kRows, int kColumns, class Tiles>
FIGMENT_INLINE void multiplyStep(Tiles& tiles, const Product& p, int64_t k) {
  const int64_t stepBytes = p.step * int64_t(sizeof(float));
  float *sums = p.sums, *lower = p.sums + kSide * p.step;
  constexpr bool kRight = kColumns == 2, kLower = kRows == 2, kCorner = kRight && kLower;
  if (k == 0 && p.first) {
    tiles.template zero<0>();
    if constexpr (kRight) tiles.template zero<1>();
    if constexpr (kLower) tiles.template zero<2>();
    if constexpr (kCorner) tiles.template zero<3>();
  } else if (k == 0) {
    tiles.template load<0>(sums, stepBytes);
    if constexpr (kRight) tiles.template load<1>(sums + kSide, stepBytes);
    if constexpr (kLower) tiles.template load<2>(lower, stepBytes);
    if constexpr (kCorner) tiles.template load<3>(lower + kSide, stepBytes);
  }
  const uint16_t *a = p.a, *b = p.b;
  if constexpr (kParts == 1) {
    a += k * p.aStep;
    b += k * p.bStep;
  } else {
    const int64_t term = k / p.steps, within = k % p.steps;
    a += Terms<kParts>::kA[term] * p.aPart + within * p.aStep;
    b += Terms<kParts>::kB[term] * p.bPart + within * p.bStep;
  }
  tiles.template load<4>(a, kRowBytes);
  tiles.template load<6>(b, kRowBytes);
  tiles.template dot<0, 4, 6>();
  if constexpr (kRight) tiles.template load<7>(b + kTile, kRowBytes);
  if constexpr (kRight) tiles.template dot<1, 4, 7>();
  if constexpr (kLower) tiles.template load<5>(a + kTile, kRowBytes);
  if constexpr (kLower) tiles.template dot<2, 5, 6>();
  if constexpr (kCorner) tiles.template dot<3, 5, 7>();
}

template <int kRows, int kColumns, class Tiles>
FIGMENT_INLINE void storeSums(Tiles& tiles, const Product& p) {
  const int64_t stepBytes = p.step * int64_t(sizeof(float));
  float *sums = p.sums, *lower = p.sums + kSide * p.step;
  tiles.template store<0>(sums, stepBytes);
  if constexpr (kColumns == 2) tiles.template store<1>(sums + kSide, stepBytes);
  if constexpr (kRows == 2) tiles.template store<2>(lower, stepBytes);
  if constexpr (kRows == 2 && kColumns == 2) tiles.template store<3>(lower + kSide, stepBytes);
}

/// with(rows, columns) as constants: the tiles of sums that a product needs.
template <class With>
FIGMENT_INLINE void withSides(const Product& p, With&& with) {
  using One = std::integral_constant<int, 1>;
  using Two = std::integral_constant<int, 2>;
  if (p.narrowColumns)
    with(Two{}, One{});
  else if (p.narrowRows)
    with(One{}, Two{});
  else
    with(Two{}, Two{});
}

/// Steps of products between other work.
template <int kParts>
constexpr int64_t kStepsAtOnce = kParts == 1 ? 2 : 6;

/// Products that wait, in turn. The sums of one are stored when the next begins: until then other
/// work stands between, whose loads would wait for stores of sums not yet there if the addresses of
/// both agreed in their last 12 bits.
template <int kParts>
class Products {
 public:
  /// The steps of those that wait.
  FIGMENT_INLINE int64_t left() const { return left_; }
  /// Appends one; the first are made before when there is no more room.
  template <class Tiles>
  FIGMENT_INLINE void add(Tiles& tiles, const Product& product) {
    if (end_ - begin_ == kMost - 1) finish(tiles);
    queue_[end_++ % kMost] = product;
    left_ += stepsOf(product);
  }
  /// Makes one step.
  template <class Tiles>
  FIGMENT_INLINE void step(Tiles& tiles) {
    if (step_ == 0) store(tiles);
    const Product& p = queue_[begin_ % kMost];
    withSides(p, [&](auto rows, auto columns) {
      multiplyStep<kParts, rows(), columns()>(tiles, p, step_);
    });
    left_--;
    if (++step_ < stepsOf(p)) return;
    step_ = 0;
    begin_++;
    open_ = true;
  }
  /// Stores the sums of the last one that was made.
  template <class Tiles>
  FIGMENT_INLINE void store(Tiles& tiles) {
    if (!open_) return;
    const Product& p = queue_[(begin_ - 1) % kMost];
    withSides(p, [&](auto rows, auto columns) { storeSums<rows(), columns()>(tiles, p); });
    open_ = false;
  }
  template <class Tiles>
  void finish(Tiles& tiles) {
    while (left_ > 0) step(tiles);
    store(tiles);
  }

 private:
  static constexpr int64_t stepsOf(const Product& p) { return Terms<kParts>::kCount * p.steps; }

  static constexpr int64_t kMost = 16;
  Product queue_[kMost];
  int64_t begin_ = 0, end_ = 0, step_ = 0, left_ = 0;
  bool open_ = false;  ///< the tiles hold sums that have not been stored
};

}  // namespace figment::FIGMENT_ISA::tiles
