// softmax, its logarithm and their derivatives, vectorised within rows: maximum; exponentials and
// their sum; scaling or shifting.
#pragma once

#include "../params/logSoftmax.generated.h"
#include "../params/logSoftmaxGrad.generated.h"
#include "../params/softmax.generated.h"
#include "../params/softmaxGrad.generated.h"
#include "row.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

struct Softmax {
  static void row(const float* x, float* y, int64_t cols) {
    const float sum = rowExponentials<true>(x, rowMaximum(x, cols), y, cols);
    scale(y, 1.0f / sum, cols);
  }
  static void fewRows(const float* x, float* y, int count, int64_t cols) {
    float highest[kRowsAbreast], sums[kRowsAbreast];
    RowTile tile;
    rowMaxima(x, count, cols, highest);
    rowsExponentials(x, count, cols, highest, sums,
                     [&](int k, int64_t i, F32, F32 e) { e.store(tile[k] + i); });
    for (float& s : sums) s = 1.0f / s;
    writeRows(tile, y, count, cols, [&](int k, F32 e) { return e * F32::broadcast(sums[k]); });
  }

 private:
  static FIGMENT_INLINE void scale(float* y, float factor, int64_t cols) {
    const F32 by = F32::broadcast(factor);
    forLanes(cols,
             [&](int64_t i, int lanes) { storeLanes(y + i, loadLanes(y + i, lanes) * by, lanes); });
  }
};

struct LogSoftmax {
  static void row(const float* x, float* y, int64_t cols) {
    const float highest = rowMaximum(x, cols);
    shift(x, y, highest, logOne(rowExponentials<false>(x, highest, nullptr, cols)), cols);
  }
  static void fewRows(const float* x, float* y, int count, int64_t cols) {
    float highest[kRowsAbreast], sums[kRowsAbreast];
    RowTile tile;
    rowMaxima(x, count, cols, highest);
    rowsExponentials(x, count, cols, highest, sums,
                     [&](int k, int64_t i, F32 centred, F32) { centred.store(tile[k] + i); });
    logFour(sums);
    writeRows(tile, y, count, cols,
              [&](int k, F32 centred) { return centred - F32::broadcast(sums[k]); });
  }

 private:
  /// In this order, since highest and an element may be large and close.
  static FIGMENT_INLINE void shift(const float* x, float* y, float highest, float logSum,
                                   int64_t cols) {
    const F32 first = F32::broadcast(highest), second = F32::broadcast(logSum);
    forLanes(cols, [&](int64_t i, int lanes) {
      storeLanes(y + i, (loadLanes(x + i, lanes) - first) - second, lanes);
    });
  }
};

struct SoftmaxGrad {
  static FIGMENT_INLINE F32 add(F32 sum, F32 y, F32 dy) { return mulAdd(y, dy, sum); }
  static FIGMENT_INLINE F32 result(F32 y, F32 dy, F32 total) { return y * (dy - total); }
};
struct LogSoftmaxGrad {
  static FIGMENT_INLINE F32 add(F32 sum, F32, F32 dy) { return sum + dy; }
  static FIGMENT_INLINE F32 result(F32 y, F32 dy, F32 total) {
    return dy - expNonPositive(y) * total;
  }
};

/// A sum over each row, then its results from the sum.
template <class Op>
struct Grad {
  static void row(const float* y, const float* dy, float* dx, int64_t cols) {
    F32 sum[kRowVectors];
    for (F32& s : sum) s = F32::zero();
    int64_t i = 0;
    for (; i + kRowVectors * kLanes <= cols; i += kRowVectors * kLanes)
      for (int v = 0; v < kRowVectors; v++)
        sum[v] = Op::add(sum[v], F32::load(y + i + v * kLanes), F32::load(dy + i + v * kLanes));
    for (; i < cols; i += kLanes) {
      const int lanes = int(smaller(kLanes, cols - i));
      sum[0] = Op::add(sum[0], loadLanes(y + i, lanes), loadLanes(dy + i, lanes));
    }
    finish(y, dy, dx, reduceAdd((sum[0] + sum[1]) + (sum[2] + sum[3])), cols);
  }
  static void fewRows(const float* y, const float* dy, float* dx, int count, int64_t cols) {
    float sums[kRowsAbreast];
    foldRows<Total>(count, cols, 0, sums, [&](F32 so, int k, int64_t i, int lanes) {
      return Op::add(so, loadLanes(y + k * cols + i, lanes), loadLanes(dy + k * cols + i, lanes));
    });
    for (int k = 0; k < count; k++)
      finish(y + k * cols, dy + k * cols, dx + k * cols, sums[k], cols);
  }

 private:
  static FIGMENT_INLINE void finish(const float* y, const float* dy, float* dx, float sum,
                                    int64_t cols) {
    const F32 total = F32::broadcast(sum);
    forLanes(cols, [&](int64_t i, int lanes) {
      storeLanes(dx + i, Op::result(loadLanes(y + i, lanes), loadLanes(dy + i, lanes), total),
                 lanes);
    });
  }
};

/// Copies of the rows of 16-bit operands that are taken together.
template <class P, int kBuffers>
RowStage stageOf(const OpCall& call, std::byte* scratch) {
  const int64_t cols = call.as<P>().cols;
  return RowStage(scratch, rowsAtOnce(cols) * cols, 0, kBuffers);
}
template <class P, int kBuffers>
size_t stageBytes(const OpCall& call, int threads) {
  return stageOf<P, kBuffers>(call, nullptr).bytes(call, threads);
}

template <class P, class Op>
void runForward(const OpCall& call, Context& context) {
  const P& p = call.as<P>();
  const Elements x = Elements::of(call.in[0]);
  const Results y = Results::of(call.out[0]);
  const RowStage stage = stageOf<P, 1>(call, context.scratch());
  forRows(context, p.rows, p.cols, [&](int64_t r, int count, int worker) {
    const int64_t at = r * p.cols;
    float* copy = stage.buffer(worker, 0);
    const float* from = readRows(x + at, count * p.cols, copy);
    float* to = rowsToWrite(y + at, copy);
    p.cols <= kShortRow ? Op::fewRows(from, to, count, p.cols) : Op::row(from, to, p.cols);
    keepRows(y + at, to, count * p.cols);
  });
}

template <class P, class Op>
void runGrad(const OpCall& call, Context& context) {
  const P& p = call.as<P>();
  const Elements y = Elements::of(call.in[0]), dy = Elements::of(call.in[1]);
  const Results dx = Results::of(call.out[0]);
  const RowStage stage = stageOf<P, 2>(call, context.scratch());
  forRows(context, p.rows, p.cols, [&](int64_t r, int count, int worker) {
    const int64_t at = r * p.cols, size = count * p.cols;
    float* copy = stage.buffer(worker, 0);
    const float* result = readRows(y + at, size, copy);
    const float* cotangent = readRows(dy + at, size, stage.buffer(worker, 1));
    float* to = rowsToWrite(dx + at, copy);
    p.cols <= kShortRow ? Grad<Op>::fewRows(result, cotangent, to, count, p.cols)
                        : Grad<Op>::row(result, cotangent, to, p.cols);
    keepRows(dx + at, to, size);
  });
}

template <class P, class Op>
constexpr Variant forwardOf(const char* op) {
  return {op, kVariantName, kVariantIsa, supportsRows, stageBytes<P, 1>, runForward<P, Op>};
}
template <class P, class Op>
constexpr Variant gradOf(const char* op) {
  return {op, kVariantName, kVariantIsa, supportsRows, stageBytes<P, 2>, runGrad<P, Op>};
}
constexpr Variant softmaxVariant = forwardOf<SoftmaxParams, Softmax>("softmax");
const RegisterVariant softmaxRegistrar{softmaxVariant};
constexpr Variant softmaxGradVariant = gradOf<SoftmaxGradParams, SoftmaxGrad>("softmaxGrad");
const RegisterVariant softmaxGradRegistrar{softmaxGradVariant};
constexpr Variant logSoftmaxVariant = forwardOf<LogSoftmaxParams, LogSoftmax>("logSoftmax");
const RegisterVariant logSoftmaxRegistrar{logSoftmaxVariant};
constexpr Variant logSoftmaxGradVariant =
    gradOf<LogSoftmaxGradParams, LogSoftmaxGrad>("logSoftmaxGrad");
const RegisterVariant logSoftmaxGradRegistrar{logSoftmaxGradVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
