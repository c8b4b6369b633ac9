// Places of f32 extremes. Along contiguous rows: the extreme of a block, then a search for its
// first place; across columns: extremes and places side by side in registers.
#pragma once

#include "../norm/isa_variant.h"
#include "../params/argReduce.generated.h"
#include "../simd/fold.h"
#include "arg_reduce.h"

namespace figment::FIGMENT_ISA {
namespace {

/// Elements searched again once it is known that the extreme is among them; they stay in L1.
constexpr int64_t kBlock = 4096;
/// Elements of a row that one worker takes.
constexpr int64_t kPiece = 16 * kBlock;
/// Rows of at most this many elements are taken four at a time.
constexpr int64_t kShortRow = 512;
constexpr int kColumnVectors = 4;

struct Greatest {
  static constexpr float kIdentity = -__builtin_inff();
  static FIGMENT_INLINE F32 apply(F32 a, F32 b) { return maximum(a, b); }
  static FIGMENT_INLINE float apply(float a, float b) { return a != a || a > b ? a : b; }
  static FIGMENT_INLINE Mask better(F32 a, F32 b) { return gt(a, b); }
  static FIGMENT_INLINE bool better(float a, float b) { return a > b; }
};
struct Least {
  static constexpr float kIdentity = __builtin_inff();
  static FIGMENT_INLINE F32 apply(F32 a, F32 b) { return minimum(a, b); }
  static FIGMENT_INLINE float apply(float a, float b) { return a != a || a < b ? a : b; }
  static FIGMENT_INLINE Mask better(F32 a, F32 b) { return lt(a, b); }
  static FIGMENT_INLINE bool better(float a, float b) { return a < b; }
};

struct First {
  static FIGMENT_INLINE I32 apply(I32 a, I32 b) { return min(a, b); }
  static FIGMENT_INLINE int32_t apply(int32_t a, int32_t b) { return a < b ? a : b; }
};

/// Whether a replaces b, which stands before it.
template <class Op>
FIGMENT_INLINE bool replaces(float a, float b) {
  return b == b && (a != a || Op::better(a, b));
}

template <class Op>
FIGMENT_INLINE float extremeOf(const float* x, int64_t count) {
  F32 best[4];
  for (F32& b : best) b = F32::broadcast(Op::kIdentity);
  int64_t i = 0;
  for (; i + 4 * kLanes <= count; i += 4 * kLanes)
    for (int k = 0; k < 4; k++) best[k] = Op::apply(best[k], F32::load(x + i + k * kLanes));
  for (; i + kLanes <= count; i += kLanes) best[0] = Op::apply(best[0], F32::load(x + i));
  float lane[kLanes];
  Op::apply(Op::apply(best[0], best[1]), Op::apply(best[2], best[3])).store(lane);
  float result = lane[0];
  for (int k = 1; k < kLanes; k++)
    if (replaces<Op>(lane[k], result)) result = lane[k];
  for (; i < count; i++)
    if (replaces<Op>(x[i], result)) result = x[i];
  return result;
}

/// The first place of a value that is there; any NaN is the same.
FIGMENT_INLINE int64_t firstOf(const float* x, int64_t count, float value) {
  const F32 wanted = F32::broadcast(value);
  const bool nan = value != value;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const F32 v = F32::load(x + i);
    if (any(nan ? isNan(v) : eq(v, wanted))) break;
  }
  for (; i < count; i++)
    if (nan ? x[i] != x[i] : x[i] == value) return i;
  return 0;
}

template <class Op>
int64_t bestOf(const float* x, int64_t count) {
  int64_t block = 0;
  float best = extremeOf<Op>(x, smaller(kBlock, count));
  for (int64_t b = kBlock; b < count; b += kBlock) {
    const float here = extremeOf<Op>(x + b, smaller(kBlock, count - b));
    if (!replaces<Op>(here, best)) continue;
    best = here;
    block = b;
  }
  return block + firstOf(x + block, smaller(kBlock, count - block), best);
}

/// The last rows again where fewer than four are left.
template <class Op>
void shortRows(const float* x, int64_t length, int64_t begin, int64_t end, int32_t* y) {
  constexpr int kRows = 4;
  const int64_t whole = length - length % kLanes;
  const int rest = int(length - whole);
  for (int64_t r = begin; r < end; r += kRows) {
    const float* row[kRows];
    F32 best[kRows], last[kRows];
    for (int k = 0; k < kRows; k++) {
      row[k] = x + smaller(r + k, end - 1) * length;
      best[k] = last[k] = loadFilled(row[k] + whole, rest, Op::kIdentity);
    }
    for (int64_t i = 0; i < whole; i += kLanes)
      for (int k = 0; k < kRows; k++) best[k] = Op::apply(best[k], F32::load(row[k] + i));
    float extreme[kRows];
    foldFour<Op>(best, extreme);
    // Any NaN is the extreme. Lanes past the end may hold it too, but stand behind those that do.
    I32 place[kRows];
    const auto placeOf = [&](F32 v, int k, int64_t i, I32 otherwise) {
      const Mask here = eq(v, F32::broadcast(extreme[k])) | isNan(v);
      return blend(here, I32::iota() + I32::broadcast(int32_t(i)), otherwise);
    };
    for (int k = 0; k < kRows; k++)
      place[k] = placeOf(last[k], k, whole, I32::broadcast(INT32_MAX));
    for (int64_t i = whole - kLanes; i >= 0; i -= kLanes)
      for (int k = 0; k < kRows; k++) place[k] = placeOf(F32::load(row[k] + i), k, i, place[k]);
    int32_t first[kRows];
    foldFour<First>(place, first);
    for (int k = 0; k < kRows && r + k < end; k++) y[r + k] = first[k];
  }
}

/// Rows, or pieces of long ones, whose places are then compared in order.
template <class Op>
void alongRows(const OpCall& call, Context& context) {
  const auto& p = call.as<ArgReduceParams>();
  const float* x = call.in[0].as<float>();
  int32_t* y = call.out[0].as<int32_t>();
  if (p.axis <= kShortRow) {
    context.parallelFor(p.outer, kPiece / p.axis, [&](int64_t begin, int64_t end, int) {
      shortRows<Op>(x, p.axis, begin, end, y);
    });
    return;
  }
  const int64_t pieces = ceilDivide(p.axis, kPiece);
  int32_t* places = pieces > 1 ? reinterpret_cast<int32_t*>(context.scratch()) : y;
  context.parallelFor(
      p.outer * pieces, larger(1, kPiece / p.axis), [&](int64_t begin, int64_t end, int) {
        for (int64_t u = begin; u < end; u++) {
          const int64_t first = u % pieces * kPiece;
          const float* row = x + u / pieces * p.axis;
          places[u] = int32_t(first + bestOf<Op>(row + first, smaller(kPiece, p.axis - first)));
        }
      });
  if (pieces == 1) return;
  for (int64_t o = 0; o < p.outer; o++) {
    const float* row = x + o * p.axis;
    y[o] = places[o * pieces];
    for (int64_t k = 1; k < pieces; k++) {
      const int32_t place = places[o * pieces + k];
      if (replaces<Op>(row[place], row[y[o]])) y[o] = place;
    }
  }
}

/// kVectors vectors of columns that start at `x`, of which the last holds `lanes`.
template <class Op, int kVectors>
FIGMENT_INLINE void downColumns(const float* x, int64_t axis, int64_t stride, int lanes,
                                int32_t* y) {
  const auto load = [&](const float* row, int k) {
    return loadLanes(row + k * kLanes, k == kVectors - 1 ? lanes : kLanes);
  };
  F32 best[kVectors];
  I32 place[kVectors];
  for (int k = 0; k < kVectors; k++) {
    best[k] = load(x, k);
    place[k] = I32::zero();
  }
  for (int64_t a = 1; a < axis; a++) {
    const I32 here = I32::broadcast(int32_t(a));
    for (int k = 0; k < kVectors; k++) {
      const F32 v = load(x + a * stride, k);
      const Mask replaced = (Op::better(v, best[k]) | isNan(v)) & ~isNan(best[k]);
      best[k] = blend(replaced, v, best[k]);
      place[k] = blend(replaced, here, place[k]);
    }
  }
  for (int k = 0; k < kVectors; k++) {
    if (k == kVectors - 1 && lanes < kLanes)
      place[k].storePartial(y + k * kLanes, lanes);
    else
      place[k].store(y + k * kLanes);
  }
}

template <class Op>
void acrossColumns(const OpCall& call, Context& context) {
  const auto& p = call.as<ArgReduceParams>();
  const float* x = call.in[0].as<float>();
  int32_t* y = call.out[0].as<int32_t>();
  constexpr int64_t kBand = kColumnVectors * kLanes;
  const int64_t bands = ceilDivide(p.inner, kBand);
  const int64_t grain = kPiece / (p.axis * smaller(p.inner, kBand) + 1);
  context.parallelFor(p.outer * bands, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t u = begin; u < end; u++) {
      const int64_t outer = u / bands, first = u % bands * kBand;
      const float* from = x + outer * p.axis * p.inner + first;
      int32_t* to = y + outer * p.inner + first;
      const int64_t width = smaller(kBand, p.inner - first);
      if (width == kBand) {
        downColumns<Op, kColumnVectors>(from, p.axis, p.inner, kLanes, to);
        continue;
      }
      forLanes(width, [&](int64_t i, int lanes) {
        downColumns<Op, 1>(from + i, p.axis, p.inner, lanes, to + i);
      });
    }
  });
}

template <class Op>
void runKind(const OpCall& call, Context& context) {
  call.as<ArgReduceParams>().inner == 1 ? alongRows<Op>(call, context)
                                        : acrossColumns<Op>(call, context);
}

void runArgReduce(const OpCall& call, Context& context) {
  if (call.out[0].elements() == 0) return;
  call.as<ArgReduceParams>().kind == kArgMax ? runKind<Greatest>(call, context)
                                             : runKind<Least>(call, context);
}

size_t placeBytes(const OpCall& call, int) {
  const auto& p = call.as<ArgReduceParams>();
  const int64_t pieces = ceilDivide(p.axis, kPiece);
  return p.inner == 1 && pieces > 1 ? size_t(p.outer * pieces) * sizeof(int32_t) : 0;
}

constexpr Variant argReduceVariant{"argReduce", kVariantName, kVariantIsa,
                                   supportsF32, placeBytes,   runArgReduce};
const RegisterVariant argReduceRegistrar{argReduceVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
