// One row at a time: its maximum and the sum of its exponentials, shared by softmax, its
// logarithm and cross entropy. Sums run in four interleaved vectors, so their order follows from
// the row's length.
#pragma once

#include "../norm/row_stage.inl.h"
#include "../simd/fold.h"
#include "../simd/math.h"
#include "fast_exp.h"

namespace figment::FIGMENT_ISA {

constexpr int kRowVectors = 4;
constexpr float kLowest = -__builtin_inff();

/// The largest element; a NaN may or may not surface, the sum below always shows it.
inline float rowMaximum(const float* x, int64_t cols) {
  F32 highest[kRowVectors];
  for (F32& h : highest) h = F32::broadcast(kLowest);
  int64_t i = 0;
  for (; i + kRowVectors * kLanes <= cols; i += kRowVectors * kLanes)
    for (int v = 0; v < kRowVectors; v++)
      highest[v] = max(F32::load(x + i + v * kLanes), highest[v]);
  for (; i < cols; i += kLanes)
    highest[0] = max(loadFilled(x + i, int(smaller(kLanes, cols - i)), kLowest), highest[0]);
  return reduceMax(max(max(highest[0], highest[1]), max(highest[2], highest[3])));
}

/// Σ exp(x − highest); the terms are written to y unless it is null.
template <bool kWrite>
inline float rowExponentials(const float* x, float highest, float* y, int64_t cols) {
  const F32 shift = F32::broadcast(highest);
  F32 sum[kRowVectors];
  for (F32& s : sum) s = F32::zero();
  int64_t i = 0;
  for (; i + kRowVectors * kLanes <= cols; i += kRowVectors * kLanes) {
    for (int v = 0; v < kRowVectors; v++) {
      const F32 e = expNonPositive(F32::load(x + i + v * kLanes) - shift);
      if (kWrite) e.store(y + i + v * kLanes);
      sum[v] += e;
    }
  }
  for (; i < cols; i += kLanes) {
    const int lanes = int(smaller(kLanes, cols - i));
    const F32 e = expNonPositive(loadFilled(x + i, lanes, kLowest) - shift);
    if (kWrite) storeLanes(y + i, e, lanes);
    // A lane past the end holds exp(−∞ − highest), which is NaN where highest is −∞.
    sum[0] += blend(lt(I32::iota(), I32::broadcast(lanes)), e, F32::zero());
  }
  return reduceAdd((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

/// Rows of at most this many elements are taken four at a time, which share the folds across lanes.
constexpr int64_t kShortRow = 64;
constexpr int kRowsAbreast = 4;

struct Larger {
  static FIGMENT_INLINE F32 apply(F32 a, F32 b) { return max(a, b); }
  static FIGMENT_INLINE float apply(float a, float b) { return a > b ? a : b; }
};
struct Total {
  static FIGMENT_INLINE F32 apply(F32 a, F32 b) { return a + b; }
  static FIGMENT_INLINE float apply(float a, float b) { return a + b; }
};

/// Folds each of `count` rows of equal length: accumulate(so far, row, offset, lanes).
template <class Op, class F>
FIGMENT_INLINE void foldRows(int count, int64_t cols, float start, float (&out)[kRowsAbreast],
                             F&& accumulate) {
  F32 all[kRowsAbreast];
  for (F32& a : all) a = F32::broadcast(start);
  for (int k = 0; k < count; k++)
    forLanes(cols, [&](int64_t i, int lanes) { all[k] = accumulate(all[k], k, i, lanes); });
  foldFour<Op>(all, out);
}

/// The largest elements of `count` rows that follow each other.
FIGMENT_INLINE void rowMaxima(const float* x, int count, int64_t cols,
                              float (&highest)[kRowsAbreast]) {
  foldRows<Larger>(count, cols, kLowest, highest, [&](F32 so, int k, int64_t i, int lanes) {
    return max(loadFilled(x + k * cols + i, lanes, kLowest), so);
  });
}

/// Σ exp(x − highest) of each row; keep(row, offset, x − highest, its exponential) is given every
/// vector, with −∞ and 0 past the end of the row.
template <class F>
FIGMENT_INLINE void rowsExponentials(const float* x, int count, int64_t cols,
                                     const float (&highest)[kRowsAbreast],
                                     float (&sums)[kRowsAbreast], F&& keep) {
  foldRows<Total>(count, cols, 0, sums, [&](F32 so, int k, int64_t i, int lanes) {
    const F32 centred = loadFilled(x + k * cols + i, lanes, kLowest) - F32::broadcast(highest[k]);
    const F32 e = expNonPositive(centred);
    keep(k, i, centred, e);
    return so + blend(lt(I32::iota(), I32::broadcast(lanes)), e, F32::zero());
  });
}

/// Short rows between two passes.
using RowTile = float[kRowsAbreast][kShortRow];

/// y = resultOf(row, tile) for rows that follow each other. Vectors are stored whole where they end
/// among these rows: what one writes past the end of its row, the next row writes again. Stores of
/// part of a vector cost several of whole ones.
template <class F>
FIGMENT_INLINE void writeRows(const RowTile& tile, float* y, int count, int64_t cols,
                              F&& resultOf) {
  for (int k = 0; k < count; k++) {
    for (int64_t i = 0; i < cols; i += kLanes) {
      const F32 result = resultOf(k, F32::load(tile[k] + i));
      if (k * cols + i + kLanes <= count * cols)
        result.store(y + k * cols + i);
      else
        result.storePartial(y + k * cols + i, int(smaller(kLanes, cols - i)));
    }
  }
}

/// Rows that are taken together: four when they are short, else 1.
constexpr int64_t rowsAtOnce(int64_t cols) { return cols <= kShortRow ? kRowsAbreast : 1; }

/// Calls rowsOf(first, count, worker) for all rows, a few at a time. The grain is a multiple of
/// that, so that rows are grouped alike on any number of workers.
template <class F>
void forRows(Context& context, int64_t rows, int64_t cols, F&& rowsOf) {
  if (cols == 0) return;
  const int64_t step = rowsAtOnce(cols);
  const int64_t grain = ceilDivide(larger(1, 16384 / cols), step) * step;  // about 16 Ki elements
  context.parallelFor(rows, grain, [&](int64_t begin, int64_t end, int worker) {
    for (int64_t r = begin; r < end; r += step) rowsOf(r, int(smaller(step, end - r)), worker);
  });
}

/// ln of four numbers.
FIGMENT_INLINE void logFour(float (&x)[kRowsAbreast]) {
  log(F32::loadPartial(x, kRowsAbreast)).storePartial(x, kRowsAbreast);
}

/// ln of one number, by the vector polynomial.
FIGMENT_INLINE float logOne(float x) {
  float lanes[kLanes];
  log(F32::broadcast(x)).store(lanes);
  return lanes[0];
}

/// Rows per task, about 16 Ki elements.
constexpr int64_t rowGrain(int64_t cols) { return larger(1, 16384 / larger(1, cols)); }

}  // namespace figment::FIGMENT_ISA
