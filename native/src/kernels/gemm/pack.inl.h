// Copies that bring the factors of a product into the order in which the tiles read them, and the
// division of scratch memory. Include only from files compiled for one instruction set.
#pragma once

#include <type_traits>

#include "kernels/gemm/elements.inl.h"
#include "kernels/gemm/tile.inl.h"

namespace figment::FIGMENT_ISA::gemm {

/// Preference of the packed kernels: above the reference, wider vectors first; and of those on
/// matrix tiles, by dot products of AVX-512 or by AMX.
constexpr int kPackedPreference = 10 * (FIGMENT_LEVEL + 1);
constexpr int kDotPreference = 35, kTilesPreference = 40;

constexpr int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
/// Of whole numbers: those of floats would be cut without a word.
template <class A, class B>
constexpr int64_t smaller(A a, B b) {
  static_assert(std::is_integral_v<A> && std::is_integral_v<B>);
  return int64_t(a) < int64_t(b) ? int64_t(a) : int64_t(b);
}
template <class A, class B>
constexpr int64_t larger(A a, B b) {
  static_assert(std::is_integral_v<A> && std::is_integral_v<B>);
  return int64_t(a) > int64_t(b) ? int64_t(a) : int64_t(b);
}

/// Hands out 64-byte aligned pieces of scratch memory. With a null base it only measures, so that
/// one function both sizes and lays out the scratch of a kernel.
class Carver {
 public:
  explicit Carver(std::byte* base) : next_(reinterpret_cast<uintptr_t>(base)), base_(next_) {}
  template <class T>
  T* take(int64_t count) {
    const uintptr_t at = next_;
    next_ += (size_t(count) * sizeof(T) + 63) / 64 * 64;
    return reinterpret_cast<T*>(at);
  }
  size_t used() const { return size_t(next_ - base_); }

 private:
  uintptr_t next_;
  uintptr_t base_;
};

FIGMENT_INLINE void zeroFloats(float* to, int64_t count) {
  __builtin_memset(to, 0, size_t(count) * sizeof(float));
}

/// to[column * toStep + row] = from[row * fromStep + column], in 4×4 blocks.
inline void transpose(const float* from, int64_t fromStep, int64_t rows, int64_t columns, float* to,
                      int64_t toStep) {
  using Quad = float __attribute__((vector_size(16)));
  using Lanes = int __attribute__((vector_size(16)));
  constexpr size_t kBytes = sizeof(Quad);
  int64_t row = 0;
  for (; row + 4 <= rows; row += 4) {
    int64_t column = 0;
    for (; column + 4 <= columns; column += 4) {
      const float* p = from + row * fromStep + column;
      Quad a, b, c, d;
      __builtin_memcpy(&a, p, kBytes);
      __builtin_memcpy(&b, p + fromStep, kBytes);
      __builtin_memcpy(&c, p + 2 * fromStep, kBytes);
      __builtin_memcpy(&d, p + 3 * fromStep, kBytes);
      const Quad abLow = __builtin_shuffle(a, b, Lanes{0, 4, 1, 5});
      const Quad abHigh = __builtin_shuffle(a, b, Lanes{2, 6, 3, 7});
      const Quad cdLow = __builtin_shuffle(c, d, Lanes{0, 4, 1, 5});
      const Quad cdHigh = __builtin_shuffle(c, d, Lanes{2, 6, 3, 7});
      a = __builtin_shuffle(abLow, cdLow, Lanes{0, 1, 4, 5});
      b = __builtin_shuffle(abLow, cdLow, Lanes{2, 3, 6, 7});
      c = __builtin_shuffle(abHigh, cdHigh, Lanes{0, 1, 4, 5});
      d = __builtin_shuffle(abHigh, cdHigh, Lanes{2, 3, 6, 7});
      float* q = to + column * toStep + row;
      __builtin_memcpy(q, &a, kBytes);
      __builtin_memcpy(q + toStep, &b, kBytes);
      __builtin_memcpy(q + 2 * toStep, &c, kBytes);
      __builtin_memcpy(q + 3 * toStep, &d, kBytes);
    }
    for (; column < columns; column++)
      for (int64_t i = row; i < row + 4; i++) to[column * toStep + i] = from[i * fromStep + column];
  }
  for (; row < rows; row++)
    for (int64_t column = 0; column < columns; column++)
      to[column * toStep + row] = from[row * fromStep + column];
}

/// The same from elements of any format: 16-bit ones are widened block by block on the way.
inline void transpose(Elements from, int64_t fromStep, int64_t rows, int64_t columns, float* to,
                      int64_t toStep) {
  if (!from.half()) {
    transpose(from.floats(), fromStep, rows, columns, to, toStep);
    return;
  }
  constexpr int64_t kRows = 8, kColumns = 64;
  float block[kRows * kColumns];
  for (int64_t row = 0; row < rows; row += kRows) {
    const int64_t height = smaller(kRows, rows - row);
    for (int64_t column = 0; column < columns; column += kColumns) {
      const int64_t width = smaller(kColumns, columns - column);
      for (int64_t i = 0; i < height; i++)
        widen(block + i * kColumns, from + ((row + i) * fromStep + column), width);
      transpose(block, kColumns, height, width, to + column * toStep + row, toStep);
    }
  }
}

/// The same into elements of any format.
inline void transpose(const float* from, int64_t fromStep, int64_t rows, int64_t columns,
                      Results to, int64_t toStep) {
  if (!to.half()) {
    transpose(from, fromStep, rows, columns, to.floats(), toStep);
    return;
  }
  constexpr int64_t kRows = 64, kColumns = 8;
  float block[kColumns * kRows];
  for (int64_t column = 0; column < columns; column += kColumns) {
    const int64_t width = smaller(kColumns, columns - column);
    for (int64_t row = 0; row < rows; row += kRows) {
      const int64_t height = smaller(kRows, rows - row);
      transpose(from + row * fromStep + column, fromStep, height, width, block, kRows);
      for (int64_t j = 0; j < width; j++)
        narrow(to + ((column + j) * toStep + row), block + j * kRows, height);
    }
  }
}

/// Columns that a panel of B holds for `n` columns left: whole vectors, at most kTileColumns.
FIGMENT_INLINE int64_t panelWidth(int64_t n) {
  return n > kTileColumns - kLanes ? int64_t(kTileColumns) : ceilDiv(n, kLanes) * kLanes;
}

/// Packs `count` rows of B, contiguous along n, into rows of `width` floats with zeros after the
/// first `valid`.
inline void packRows(Elements from, int64_t fromStep, int64_t count, int64_t valid, int64_t width,
                     float* to) {
  for (int64_t k = 0; k < count; k++) {
    widen(to + k * width, from + k * fromStep, valid);
    if (valid < width) zeroFloats(to + k * width + valid, width - valid);
  }
}

/// The same for a B that is contiguous along k: column j starts at from + j * fromStep.
inline void packColumns(Elements from, int64_t fromStep, int64_t count, int64_t valid,
                        int64_t width, float* to) {
  transpose(from, fromStep, valid, count, to, width);
  if (valid < width)
    for (int64_t k = 0; k < count; k++) zeroFloats(to + k * width + valid, width - valid);
}

}  // namespace figment::FIGMENT_ISA::gemm
