// Vectorised f32 reductions; included by one file for each instruction set.
#pragma once

#include "../params/reduce.generated.h"
#include "../simd/fold.h"
#include "split.h"

namespace figment::FIGMENT_ISA {
namespace {

using reduce::kFewColumns;
using reduce::kFoldedRows;
using reduce::Kind;
using reduce::Split;

/// What one kind of reduction does to vectors and scalars; `Wide` combines partial results.
struct Sum {
  using Wide = double;
  static constexpr float kIdentity = 0.0f;
  static FIGMENT_INLINE F32 apply(F32 a, F32 b) { return a + b; }
  template <class T>
  static FIGMENT_INLINE T apply(T a, T b) {
    return a + b;
  }
};
struct Max {
  using Wide = float;
  static constexpr float kIdentity = -__builtin_inff();
  static FIGMENT_INLINE F32 apply(F32 a, F32 b) { return maximum(a, b); }
  static FIGMENT_INLINE float apply(float a, float b) { return a != a || a > b ? a : b; }
};
struct Min {
  using Wide = float;
  static constexpr float kIdentity = __builtin_inff();
  static FIGMENT_INLINE F32 apply(F32 a, F32 b) { return minimum(a, b); }
  static FIGMENT_INLINE float apply(float a, float b) { return a != a || a < b ? a : b; }
};

template <class Op>
FIGMENT_INLINE float acrossLanes(F32 a) {
  float lane[kLanes];
  a.store(lane);
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int i = 0; i < width; i++) lane[i] = Op::apply(lane[i], lane[i + width]);
  return lane[0];
}

/// One contiguous piece into four accumulators.
template <class Op>
FIGMENT_INLINE void accumulate(const float* x, int64_t count, F32 (&sum)[4], float& tail) {
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes)
    for (int k = 0; k < 4; k++) sum[k] = Op::apply(sum[k], F32::load(x + i + k * kLanes));
  for (; i + kLanes <= count; i += kLanes) sum[0] = Op::apply(sum[0], F32::load(x + i));
  for (; i < count; i++) tail = Op::apply(tail, x[i]);
}

template <class Op>
float reduceSegments(const Split& split, const float* x, int64_t begin, int64_t end) {
  F32 sum[4];
  for (F32& s : sum) s = F32::broadcast(Op::kIdentity);
  float tail = Op::kIdentity;
  const int64_t length = split.shape.last;
  for (int64_t s = begin; s < end; s++) {
    const int64_t row = s / split.segmentsPerRow;
    const int64_t start = s % split.segmentsPerRow * reduce::kChunkElements;
    const int64_t rest = length - start;
    accumulate<Op>(x + split.shape.reduced.offset(row) + start,
                   rest < reduce::kChunkElements ? rest : reduce::kChunkElements, sum, tail);
  }
  const F32 all = Op::apply(Op::apply(sum[0], sum[2]), Op::apply(sum[1], sum[3]));
  return Op::apply(acrossLanes<Op>(all), tail);
}

/// Adds eight rows at a time, pair by pair, to the row of results: every row is read in order,
/// once.
template <class Op, class RowAt>
void reduceColumns(RowAt rowAt, int64_t rows, int64_t columns, float* out) {
  constexpr int kGroup = 8;
  int64_t row = 0;
  for (int64_t c = 0; c < columns; c++) out[c] = Op::kIdentity;
  for (; row + kGroup <= rows; row += kGroup) {
    const float* x[kGroup];
    for (int k = 0; k < kGroup; k++) x[k] = rowAt(row + k);
    int64_t c = 0;
    for (; c + kLanes <= columns; c += kLanes) {
      F32 v[kGroup];
      for (int k = 0; k < kGroup; k++) v[k] = F32::load(x[k] + c);
      for (int width = kGroup / 2; width > 0; width /= 2)
        for (int k = 0; k < width; k++) v[k] = Op::apply(v[k], v[k + width]);
      Op::apply(F32::load(out + c), v[0]).store(out + c);
    }
    for (; c < columns; c++)
      for (int k = 0; k < kGroup; k++) out[c] = Op::apply(out[c], x[k][c]);
  }
  for (; row < rows; row++) {
    const float* x = rowAt(row);
    int64_t c = 0;
    for (; c + kLanes <= columns; c += kLanes)
      Op::apply(F32::load(out + c), F32::load(x + c)).store(out + c);
    for (; c < columns; c++) out[c] = Op::apply(out[c], x[c]);
  }
}

/// Few columns: sixteen rows become one row of 16 C columns, folded at the end.
template <class Op>
void reduceFolded(const float* x, int64_t rows, int64_t columns, float* out) {
  float wide[kFoldedRows * kFewColumns];
  const int64_t groups = rows / kFoldedRows;
  const int64_t width = kFoldedRows * columns;
  reduceColumns<Op>([=](int64_t r) { return x + r * width; }, groups, width, wide);
  for (int64_t c = 0; c < columns; c++) {
    float result = Op::kIdentity;
    for (int64_t r = 0; r < kFoldedRows; r++) result = Op::apply(result, wide[r * columns + c]);
    for (int64_t r = groups * kFoldedRows; r < rows; r++)
      result = Op::apply(result, x[r * columns + c]);
    out[c] = result;
  }
}

/// Short contiguous rows, four at a time; the last ones again where fewer are left, so that every
/// row is summed in the same order.
template <class Op>
void reduceShortRows(const float* x, int64_t length, int64_t begin, int64_t end, float* out) {
  constexpr int kRows = 4;
  const int64_t whole = length - length % kLanes;
  const int rest = int(length - whole);
  for (int64_t r = begin; r < end; r += kRows) {
    const float* row[kRows];
    F32 result[kRows];
    for (int k = 0; k < kRows; k++) {
      row[k] = x + (r + k < end ? r + k : end - 1) * length;
      result[k] = loadFilled(row[k] + whole, rest, Op::kIdentity);
    }
    for (int64_t i = 0; i < whole; i += kLanes)
      for (int k = 0; k < kRows; k++) result[k] = Op::apply(result[k], F32::load(row[k] + i));
    float folded[kRows];
    foldFour<Op>(result, folded);
    for (int k = 0; k < kRows && r + k < end; k++) out[r + k] = folded[k];
  }
}

template <class Op>
void reduceChunk(const Split& split, const float* x, int64_t begin, int64_t end, float* out) {
  if (split.shape.lastReduced) {
    out[0] = reduceSegments<Op>(split, x, begin, end);
  } else if (split.folded) {
    reduceFolded<Op>(x + begin * split.columns, end - begin, split.columns, out);
  } else if (split.shape.reduced.rank == 1) {
    const int64_t stride = split.shape.reduced.strides[0];
    reduceColumns<Op>([=](int64_t r) { return x + (begin + r) * stride; }, end - begin,
                      split.columns, out);
  } else {
    reduceColumns<Op>([&](int64_t r) { return x + split.shape.reduced.offset(begin + r); },
                      end - begin, split.columns, out);
  }
}

/// Combines the partial rows of one output row, in order.
template <class Op>
void combine(const Split& split, const float* partial, int64_t begin, int64_t end, float* out) {
  constexpr int64_t kBlock = 64;
  for (int64_t c = begin; c < end; c += kBlock) {
    const int64_t count = end - c < kBlock ? end - c : kBlock;
    typename Op::Wide total[kBlock];
    for (int64_t i = 0; i < count; i++) total[i] = typename Op::Wide(partial[c + i]);
    for (int64_t k = 1; k < split.chunks; k++) {
      const float* row = partial + k * split.columns + c;
      for (int64_t i = 0; i < count; i++) total[i] = Op::apply(total[i], typename Op::Wide(row[i]));
    }
    for (int64_t i = 0; i < count; i++) out[c + i] = float(total[i]);
  }
}

template <class Op>
void runKind(const OpCall& call, Context& context) {
  const Split split = reduce::splitReduction(call);
  const float* x = call.in[0].as<float>();
  float* y = call.out[0].as<float>();
  if (split.shortRows) {
    const int64_t grain = 2 * reduce::kChunkElements / split.shape.last;
    context.parallelFor(split.shape.kept.count, grain, [&](int64_t begin, int64_t end, int) {
      reduceShortRows<Op>(x, split.shape.last, begin, end, y);
    });
    return;
  }
  float* partials = split.chunks > 1 ? reinterpret_cast<float*>(context.scratch()) : y;
  const int64_t chunkElements =
      (split.shape.lastReduced && split.segmentsPerRow == 1 ? split.shape.last : split.columns) *
          (split.segments < split.perChunk ? split.segments : split.perChunk) +
      1;
  const int64_t grain = 2 * reduce::kChunkElements / chunkElements;
  context.parallelFor(split.shape.kept.count * split.chunks, grain,
                      [&](int64_t begin, int64_t end, int) {
                        for (int64_t u = begin; u < end; u++) {
                          const int64_t first = u % split.chunks * split.perChunk;
                          const int64_t last = first + split.perChunk;
                          reduceChunk<Op>(split, x + split.shape.kept.offset(u / split.chunks),
                                          first, last < split.segments ? last : split.segments,
                                          partials + u * split.columns);
                        }
                      });
  if (split.chunks <= 1) return;
  const int64_t outputs = split.shape.kept.count * split.columns;
  const int64_t combineGrain = reduce::kChunkElements / split.chunks + 1;
  context.parallelFor(outputs, combineGrain, [&](int64_t begin, int64_t end, int) {
    while (begin < end) {
      const int64_t row = begin / split.columns;
      const int64_t stop = (row + 1) * split.columns < end ? (row + 1) * split.columns : end;
      combine<Op>(split, partials + row * split.chunks * split.columns, begin - row * split.columns,
                  stop - row * split.columns, y + row * split.columns);
      begin = stop;
    }
  });
}

void runReduce(const OpCall& call, Context& context) {
  switch (Kind(call.as<ReduceParams>().kind)) {
    case Kind::kSum:
      return runKind<Sum>(call, context);
    case Kind::kMax:
      return runKind<Max>(call, context);
    default:
      return runKind<Min>(call, context);
  }
}

/// Constant-initialised: registering must not run instructions that the machine may lack.
constexpr Variant reduceVariant(const char* name, Isa isa, int (*supports)(const OpCall&)) {
  return {.op = "reduce",
          .name = name,
          .isa = isa,
          .supports = supports,
          .scratch = [](const OpCall& call, int) { return reduce::partialBytes(call); },
          .run = runReduce};
}

}  // namespace
}  // namespace figment::FIGMENT_ISA
