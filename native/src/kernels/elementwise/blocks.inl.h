// The block functions, written once over the vector types of simd/vec.h; included by one file for
// each instruction set, which registers the resulting variant.
#pragma once

#include "../params/elementwise.generated.h"
#include "../simd/bf16.h"
#include "../simd/functions.h"
#include "blocks.h"
#include "chain.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

using elementwise::Block;
using elementwise::BlockTable;

template <class V>
struct ElementOf;
template <>
struct ElementOf<F32> {
  using Type = float;
};
template <>
struct ElementOf<I32> {
  using Type = int32_t;
};
template <class V>
using Element = typename ElementOf<V>::Type;

template <class V>
FIGMENT_INLINE V load(const void* p, int i) {
  return V::load(static_cast<const Element<V>*>(p) + i);
}
template <class V>
FIGMENT_INLINE V loadPartial(const void* p, int i, int count) {
  return V::loadPartial(static_cast<const Element<V>*>(p) + i, count);
}
template <class V>
FIGMENT_INLINE void store(V v, void* p, int i) {
  v.store(static_cast<Element<V>*>(p) + i);
}
template <class V>
FIGMENT_INLINE void storePartial(V v, void* p, int i, int count) {
  v.storePartial(static_cast<Element<V>*>(p) + i, count);
}

/// f of one register, over full vectors and the partial one at the end.
template <class V, auto f>
void unary(void* dst, const void* a, const void*, const void*, int count) {
  int i = 0;
#pragma GCC unroll 2
  for (; i + kLanes <= count; i += kLanes) store(f(load<V>(a, i)), dst, i);
  if (i < count) storePartial(f(loadPartial<V>(a, i, count - i)), dst, i, count - i);
}

template <class V, auto f>
void binary(void* dst, const void* a, const void* b, const void*, int count) {
  int i = 0;
#pragma GCC unroll 4
  for (; i + kLanes <= count; i += kLanes) store(f(load<V>(a, i), load<V>(b, i)), dst, i);
  if (i < count) {
    const int rest = count - i;
    storePartial(f(loadPartial<V>(a, i, rest), loadPartial<V>(b, i, rest)), dst, i, rest);
  }
}

void select(void* dst, const void* a, const void* b, const void* c, int count) {
  const auto choose = [](I32 condition, I32 yes, I32 no) {
    return blend(eq(condition, I32::zero()), no, yes);
  };
  int i = 0;
  for (; i + kLanes <= count; i += kLanes)
    store(choose(load<I32>(a, i), load<I32>(b, i), load<I32>(c, i)), dst, i);
  if (i < count) {
    const int rest = count - i;
    storePartial(choose(loadPartial<I32>(a, i, rest), loadPartial<I32>(b, i, rest),
                        loadPartial<I32>(c, i, rest)),
                 dst, i, rest);
  }
}

/// There is no vector division of integers. By zero it gives 0; the least integer by -1 wraps.
void divideI32(void* dst, const void* a, const void* b, const void*, int count) {
  for (int i = 0; i < count; i++) {
    const int32_t x = static_cast<const int32_t*>(a)[i];
    const int32_t y = static_cast<const int32_t*>(b)[i];
    static_cast<int32_t*>(dst)[i] = y == 0 ? 0 : y == -1 ? int32_t(0u - uint32_t(x)) : x / y;
  }
}

/// Nor of their remainder, which has the dividend's sign; by zero it is 0.
void remainderI32(void* dst, const void* a, const void* b, const void*, int count) {
  for (int i = 0; i < count; i++) {
    const int32_t x = static_cast<const int32_t*>(a)[i];
    const int32_t y = static_cast<const int32_t*>(b)[i];
    static_cast<int32_t*>(dst)[i] = y == 0 || y == -1 ? 0 : x % y;
  }
}

/// Conversions between stored and register elements: `full` for a whole vector; the end goes
/// through a staging vector of zeros.
template <class Stored, class V, auto full>
void widen(void* dst, const void* a, const void*, const void*, int count) {
  const Stored* source = static_cast<const Stored*>(a);
  int i = 0;
#pragma GCC unroll 4
  for (; i + kLanes <= count; i += kLanes) store<V>(full(source + i), dst, i);
  if (i < count) {
    Stored staged[kLanes] = {};
    for (int j = 0; i + j < count; j++) staged[j] = source[i + j];
    storePartial<V>(full(staged), dst, i, count - i);
  }
}
template <class Stored, class V, auto full>
void narrow(void* dst, const void* a, const void*, const void*, int count) {
  Stored* target = static_cast<Stored*>(dst);
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) full(target + i, load<V>(a, i));
  if (i < count) {
    Stored staged[kLanes];
    full(staged, loadPartial<V>(a, i, count - i));
    for (int j = 0; i + j < count; j++) target[i + j] = staged[j];
  }
}

void storeBf16s(void* dst, const void* a, const void*, const void*, int count) {
  narrowToBf16(static_cast<uint16_t*>(dst), static_cast<const float*>(a), count);
}

void loadI64(void* dst, const void* a, const void*, const void*, int count) {
  for (int i = 0; i < count; i++)
    static_cast<int32_t*>(dst)[i] = int32_t(static_cast<const int64_t*>(a)[i]);
}
void storeI64(void* dst, const void* a, const void*, const void*, int count) {
  for (int i = 0; i < count; i++) static_cast<int64_t*>(dst)[i] = static_cast<const int32_t*>(a)[i];
}

void splat(void* dst, const void* value, int count) {
  int32_t bits;
  __builtin_memcpy(&bits, value, sizeof bits);
  const I32 v = I32::broadcast(bits);
  int i = 0;
  for (; i + kLanes <= count; i += kLanes) store(v, dst, i);
  if (i < count) storePartial(v, dst, i, count - i);
}

void stream(void* dst, const void* src, size_t bytes) {
  constexpr size_t kVector = sizeof(float) * kLanes;
  constexpr size_t kLine = 64;
  if (reinterpret_cast<uintptr_t>(dst) % kLine != 0) {
    __builtin_memcpy(dst, src, bytes);
    return;
  }
  float* to = static_cast<float*>(dst);
  const float* from = static_cast<const float*>(src);
  size_t done = 0;
  for (; done + kLine <= bytes; done += kLine)
    for (size_t v = 0; v < kLine; v += kVector, to += kLanes, from += kLanes)
      F32::load(from).stream(to);
  __builtin_memcpy(to, from, bytes - done);
}

template <auto compare>
constexpr Block kCompareF32 = binary<F32, [](F32 a, F32 b) { return toInt(compare(a, b)); }>;
template <auto compare>
constexpr Block kCompareI32 = binary<I32, [](I32 a, I32 b) { return toInt(compare(a, b)); }>;

constexpr BlockTable makeTable() {
  BlockTable t = {};
  const auto f32 = [&t](Opcode op) -> Block& { return t.f32[int(op)]; };
  const auto i32 = [&t](Opcode op) -> Block& { return t.i32[int(op)]; };
  const auto in = [&t](Format format) -> Block& { return t.load[int(format)]; };
  const auto out = [&t](Format format) -> Block& { return t.store[int(format)]; };

  f32(Opcode::kSelect) = select;
  f32(Opcode::kAdd) = binary<F32, [](F32 a, F32 b) { return a + b; }>;
  f32(Opcode::kSub) = binary<F32, [](F32 a, F32 b) { return a - b; }>;
  f32(Opcode::kMul) = binary<F32, [](F32 a, F32 b) { return a * b; }>;
  f32(Opcode::kDiv) = binary<F32, [](F32 a, F32 b) { return a / b; }>;
  f32(Opcode::kMaximum) = binary<F32, [](F32 a, F32 b) { return maximum(a, b); }>;
  f32(Opcode::kMinimum) = binary<F32, [](F32 a, F32 b) { return minimum(a, b); }>;
  f32(Opcode::kPow) = binary<F32, [](F32 a, F32 b) { return pow(a, b); }>;
  f32(Opcode::kRem) = binary<F32, [](F32 a, F32 b) { return rem(a, b); }>;
  f32(Opcode::kNeg) = unary<F32, [](F32 a) { return -a; }>;
  f32(Opcode::kAbs) = unary<F32, [](F32 a) { return abs(a); }>;
  f32(Opcode::kSign) = unary<F32, [](F32 a) { return sign(a); }>;
  f32(Opcode::kExp) = unary<F32, [](F32 a) { return exp(a); }>;
  f32(Opcode::kExpm1) = unary<F32, [](F32 a) { return expm1(a); }>;
  f32(Opcode::kLog) = unary<F32, [](F32 a) { return log(a); }>;
  f32(Opcode::kLog1p) = unary<F32, [](F32 a) { return log1p(a); }>;
  f32(Opcode::kSqrt) = unary<F32, [](F32 a) { return sqrt(a); }>;
  f32(Opcode::kRsqrt) = unary<F32, [](F32 a) { return F32::broadcast(1.0f) / sqrt(a); }>;
  f32(Opcode::kSquare) = unary<F32, [](F32 a) { return a * a; }>;
  f32(Opcode::kTanh) = unary<F32, [](F32 a) { return tanh(a); }>;
  f32(Opcode::kSigmoid) = unary<F32, [](F32 a) { return sigmoid(a); }>;
  f32(Opcode::kSin) = unary<F32, [](F32 a) { return sin(a); }>;
  f32(Opcode::kCos) = unary<F32, [](F32 a) { return cos(a); }>;
  f32(Opcode::kSoftplus) = unary<F32, [](F32 a) { return softplus(a); }>;
  f32(Opcode::kErf) = unary<F32, [](F32 a) { return erf(a); }>;
  f32(Opcode::kFloor) = unary<F32, [](F32 a) { return floor(a); }>;
  f32(Opcode::kCeil) = unary<F32, [](F32 a) { return ceil(a); }>;
  f32(Opcode::kRound) = unary<F32, [](F32 a) { return roundEven(a); }>;
  f32(Opcode::kEq) = kCompareF32<[](F32 a, F32 b) { return eq(a, b); }>;
  f32(Opcode::kNe) = kCompareF32<[](F32 a, F32 b) { return ne(a, b); }>;
  f32(Opcode::kLt) = kCompareF32<[](F32 a, F32 b) { return lt(a, b); }>;
  f32(Opcode::kLe) = kCompareF32<[](F32 a, F32 b) { return le(a, b); }>;
  f32(Opcode::kGt) = kCompareF32<[](F32 a, F32 b) { return gt(a, b); }>;
  f32(Opcode::kGe) = kCompareF32<[](F32 a, F32 b) { return ge(a, b); }>;

  i32(Opcode::kSelect) = select;
  i32(Opcode::kAdd) = binary<I32, [](I32 a, I32 b) { return a + b; }>;
  i32(Opcode::kSub) = binary<I32, [](I32 a, I32 b) { return a - b; }>;
  i32(Opcode::kMul) = binary<I32, [](I32 a, I32 b) { return a * b; }>;
  i32(Opcode::kDiv) = divideI32;
  i32(Opcode::kMaximum) = binary<I32, [](I32 a, I32 b) { return max(a, b); }>;
  i32(Opcode::kMinimum) = binary<I32, [](I32 a, I32 b) { return min(a, b); }>;
  i32(Opcode::kRem) = remainderI32;
  i32(Opcode::kAbs) = unary<I32, [](I32 a) { return max(a, I32::zero() - a); }>;
  i32(Opcode::kSign) =
      unary<I32, [](I32 a) { return toInt(gt(a, I32::zero())) - toInt(lt(a, I32::zero())); }>;
  i32(Opcode::kNeg) = unary<I32, [](I32 a) { return I32::zero() - a; }>;
  i32(Opcode::kSquare) = unary<I32, [](I32 a) { return a * a; }>;
  i32(Opcode::kEq) = kCompareI32<[](I32 a, I32 b) { return eq(a, b); }>;
  i32(Opcode::kNe) = kCompareI32<[](I32 a, I32 b) { return ~eq(a, b); }>;
  i32(Opcode::kLt) = kCompareI32<[](I32 a, I32 b) { return lt(a, b); }>;
  i32(Opcode::kLe) = kCompareI32<[](I32 a, I32 b) { return ~gt(a, b); }>;
  i32(Opcode::kGt) = kCompareI32<[](I32 a, I32 b) { return gt(a, b); }>;
  i32(Opcode::kGe) = kCompareI32<[](I32 a, I32 b) { return ~lt(a, b); }>;

  t.castToI32 = unary<F32, [](F32 a) { return toIntSaturated(a); }>;
  t.castToF32 = unary<I32, [](I32 a) { return toFloat(a); }>;

  in(Format::bf16) = widen<uint16_t, F32, [](const uint16_t* p) { return loadBf16(p); }>;
  in(Format::f16) = widen<uint16_t, F32, [](const uint16_t* p) { return loadF16(p); }>;
  in(Format::u8) = widen<uint8_t, I32, [](const uint8_t* p) { return I32::loadU8(p); }>;
  in(Format::boolean) = in(Format::u8);
  in(Format::i8) = widen<int8_t, I32, [](const int8_t* p) { return I32::loadI8(p); }>;
  in(Format::i64) = loadI64;
  out(Format::bf16) = storeBf16s;
  out(Format::f16) = narrow<uint16_t, F32, [](uint16_t* p, F32 a) { storeF16(p, a); }>;
  out(Format::u8) = narrow<uint8_t, I32, [](uint8_t* p, I32 a) { a.storeLow8(p); }>;
  out(Format::i8) = out(Format::u8);
  out(Format::boolean) =
      narrow<uint8_t, I32, [](uint8_t* p, I32 a) { toInt(~eq(a, I32::zero())).storeLow8(p); }>;
  out(Format::i64) = storeI64;

  t.chain = chain;
  t.splat = splat;
  t.stream = stream;
  t.streamFence = streamFence;
  return t;
}

constexpr BlockTable kTable = makeTable();

}  // namespace
}  // namespace figment::FIGMENT_ISA
