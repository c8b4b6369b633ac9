// Four lanes as a compiler vector type behind the names of vec.h: any 64-bit little-endian machine.
// Fused multiply-adds are the C library's where the hardware has none, so that every instruction
// set computes the same bits. Include vec.h.
#pragma once

#include "half.h"

namespace figment::generic {

using FloatVector = float __attribute__((vector_size(16)));
using IntVector = int32_t __attribute__((vector_size(16)));
using UnsignedVector = uint32_t __attribute__((vector_size(16)));
using WideVector = uint64_t __attribute__((vector_size(16)));
using DoubleVector = double __attribute__((vector_size(16)));
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

struct Mask {
  IntVector v;
};
FIGMENT_INLINE Mask operator&(Mask a, Mask b) { return {a.v & b.v}; }
FIGMENT_INLINE Mask operator|(Mask a, Mask b) { return {a.v | b.v}; }
FIGMENT_INLINE Mask operator~(Mask a) { return {~a.v}; }
FIGMENT_INLINE bool any(Mask a) { return (a.v[0] | a.v[1] | a.v[2] | a.v[3]) != 0; }
FIGMENT_INLINE bool all(Mask a) { return (a.v[0] & a.v[1] & a.v[2] & a.v[3]) != 0; }

struct F32 {
  static constexpr int kLanes = 4;
  FloatVector v;
  static FIGMENT_INLINE F32 zero() { return {FloatVector{0, 0, 0, 0}}; }
  static FIGMENT_INLINE F32 broadcast(float x) { return {FloatVector{x, x, x, x}}; }
  static FIGMENT_INLINE F32 load(const float* p) {
    F32 a;
    __builtin_memcpy(&a.v, p, sizeof a.v);
    return a;
  }
  /// The first `count` (0 .. kLanes) elements, zero in the other lanes; touches no memory beyond.
  static FIGMENT_INLINE F32 loadPartial(const float* p, int count) {
    F32 a = zero();
    for (int i = 0; i < count; i++) a.v[i] = p[i];
    return a;
  }
  FIGMENT_INLINE void store(float* p) const { __builtin_memcpy(p, &v, sizeof v); }
  FIGMENT_INLINE void storePartial(float* p, int count) const {
    for (int i = 0; i < count; i++) p[i] = v[i];
  }
  /// An ordinary store: portable code has no way around the caches.
  FIGMENT_INLINE void stream(float* p) const { store(p); }
  /// Leaves to the compiler what it keeps in registers.
  FIGMENT_INLINE void hold() {}
};

struct I32 {
  static constexpr int kLanes = 4;
  IntVector v;
  static FIGMENT_INLINE I32 zero() { return {IntVector{0, 0, 0, 0}}; }
  static FIGMENT_INLINE I32 broadcast(int32_t x) { return {IntVector{x, x, x, x}}; }
  /// The same number in every 64-bit lane.
  static FIGMENT_INLINE I32 broadcastWide(uint64_t x) { return {IntVector(WideVector{x, x})}; }
  static FIGMENT_INLINE I32 iota() { return {IntVector{0, 1, 2, 3}}; }
  static FIGMENT_INLINE I32 load(const int32_t* p) {
    I32 a;
    __builtin_memcpy(&a.v, p, sizeof a.v);
    return a;
  }
  static FIGMENT_INLINE I32 loadPartial(const int32_t* p, int count) {
    I32 a = zero();
    for (int i = 0; i < count; i++) a.v[i] = p[i];
    return a;
  }
  static FIGMENT_INLINE I32 loadU16(const uint16_t* p) {
    return {IntVector{p[0], p[1], p[2], p[3]}};
  }
  /// The first `count` (0 .. kLanes) of loadU16, zero in the other lanes.
  static FIGMENT_INLINE I32 loadU16Partial(const uint16_t* p, int count) {
    I32 a = zero();
    for (int i = 0; i < count; i++) a.v[i] = p[i];
    return a;
  }
  /// Pairs of 16-bit numbers: the first `count` (0 .. 2 kLanes) numbers, zero in place of others.
  static FIGMENT_INLINE I32 loadPairs(const uint16_t* p, int count) {
    I32 a = zero();
    __builtin_memcpy(&a.v, p, size_t(count) * sizeof *p);
    return a;
  }
  /// Groups of four lanes, each from memory `stepBytes` behind the one before.
  static FIGMENT_INLINE I32 loadQuads(const void* p, int64_t) {
    I32 a;
    __builtin_memcpy(&a.v, p, sizeof a.v);
    return a;
  }
  static FIGMENT_INLINE I32 loadU8(const uint8_t* p) { return {IntVector{p[0], p[1], p[2], p[3]}}; }
  static FIGMENT_INLINE I32 loadI8(const int8_t* p) { return {IntVector{p[0], p[1], p[2], p[3]}}; }
  FIGMENT_INLINE void store(int32_t* p) const { __builtin_memcpy(p, &v, sizeof v); }
  FIGMENT_INLINE void storePartial(int32_t* p, int count) const {
    for (int i = 0; i < count; i++) p[i] = v[i];
  }
  FIGMENT_INLINE void storeLow16(uint16_t* p) const {
    for (int i = 0; i < kLanes; i++) p[i] = uint16_t(v[i]);
  }
  FIGMENT_INLINE void storeLow8(uint8_t* p) const {
    for (int i = 0; i < kLanes; i++) p[i] = uint8_t(v[i]);
  }
};

/// Half as many 64-bit lanes; for accumulation.
struct F64 {
  static constexpr int kLanes = 2;
  DoubleVector v;
  static FIGMENT_INLINE F64 zero() { return {DoubleVector{0, 0}}; }
  static FIGMENT_INLINE F64 broadcast(double x) { return {DoubleVector{x, x}}; }
  static FIGMENT_INLINE F64 load(const double* p) { return {DoubleVector{p[0], p[1]}}; }
  FIGMENT_INLINE void store(double* p) const { __builtin_memcpy(p, &v, sizeof v); }
};

FIGMENT_INLINE F32 operator+(F32 a, F32 b) { return {a.v + b.v}; }
FIGMENT_INLINE F32 operator-(F32 a, F32 b) { return {a.v - b.v}; }
FIGMENT_INLINE F32 operator*(F32 a, F32 b) { return {a.v * b.v}; }
FIGMENT_INLINE F32 operator/(F32 a, F32 b) { return {a.v / b.v}; }
FIGMENT_INLINE F32 fma(F32 a, F32 b, F32 c) {
  F32 r;
  for (int i = 0; i < F32::kLanes; i++) r.v[i] = __builtin_fmaf(a.v[i], b.v[i], c.v[i]);
  return r;
}
FIGMENT_INLINE F32 fnma(F32 a, F32 b, F32 c) { return fma({-a.v}, b, c); }
FIGMENT_INLINE F32 sqrt(F32 a) {
  F32 r;
  for (int i = 0; i < F32::kLanes; i++) r.v[i] = __builtin_sqrtf(a.v[i]);
  return r;
}
FIGMENT_INLINE F32 floor(F32 a) {
  F32 r;
  for (int i = 0; i < F32::kLanes; i++) r.v[i] = __builtin_floorf(a.v[i]);
  return r;
}
FIGMENT_INLINE F32 ceil(F32 a) {
  F32 r;
  for (int i = 0; i < F32::kLanes; i++) r.v[i] = __builtin_ceilf(a.v[i]);
  return r;
}
/// To the nearest integer, ties to even.
FIGMENT_INLINE F32 roundEven(F32 a) {
  F32 r;
  for (int i = 0; i < F32::kLanes; i++) r.v[i] = __builtin_nearbyintf(a.v[i]);
  return r;
}
FIGMENT_INLINE Mask eq(F32 a, F32 b) { return {a.v == b.v}; }
FIGMENT_INLINE Mask ne(F32 a, F32 b) { return {a.v != b.v}; }
FIGMENT_INLINE Mask lt(F32 a, F32 b) { return {a.v < b.v}; }
FIGMENT_INLINE Mask le(F32 a, F32 b) { return {a.v <= b.v}; }
FIGMENT_INLINE Mask gt(F32 a, F32 b) { return {a.v > b.v}; }
FIGMENT_INLINE Mask ge(F32 a, F32 b) { return {a.v >= b.v}; }
FIGMENT_INLINE Mask isNan(F32 a) { return {a.v != a.v}; }
FIGMENT_INLINE F32 blend(Mask m, F32 a, F32 b) {
  return {FloatVector((m.v & IntVector(a.v)) | (~m.v & IntVector(b.v)))};
}
/// a in the lanes where the sign bit of s is set, b elsewhere.
FIGMENT_INLINE F32 blendBySign(I32 s, F32 a, F32 b) { return blend(Mask{s.v >> 31}, a, b); }
FIGMENT_INLINE F32 min(F32 a, F32 b) { return blend(lt(a, b), a, b); }
FIGMENT_INLINE F32 max(F32 a, F32 b) { return blend(gt(a, b), a, b); }

FIGMENT_INLINE I32 operator+(I32 a, I32 b) {
  return {IntVector(UnsignedVector(a.v) + UnsignedVector(b.v))};
}
FIGMENT_INLINE I32 operator-(I32 a, I32 b) {
  return {IntVector(UnsignedVector(a.v) - UnsignedVector(b.v))};
}
FIGMENT_INLINE I32 operator*(I32 a, I32 b) {
  return {IntVector(UnsignedVector(a.v) * UnsignedVector(b.v))};
}
FIGMENT_INLINE I32 operator&(I32 a, I32 b) { return {a.v & b.v}; }
FIGMENT_INLINE I32 operator|(I32 a, I32 b) { return {a.v | b.v}; }
FIGMENT_INLINE I32 operator^(I32 a, I32 b) { return {a.v ^ b.v}; }
FIGMENT_INLINE I32 operator~(I32 a) { return {~a.v}; }
FIGMENT_INLINE I32 shl(I32 a, int n) { return {IntVector(UnsignedVector(a.v) << n)}; }
/// Shifts in zeros.
FIGMENT_INLINE I32 shr(I32 a, int n) { return {IntVector(UnsignedVector(a.v) >> n)}; }
/// Shifts in the sign.
FIGMENT_INLINE I32 sar(I32 a, int n) { return {a.v >> n}; }
FIGMENT_INLINE Mask eq(I32 a, I32 b) { return {a.v == b.v}; }
FIGMENT_INLINE Mask lt(I32 a, I32 b) { return {a.v < b.v}; }
FIGMENT_INLINE Mask gt(I32 a, I32 b) { return {a.v > b.v}; }
FIGMENT_INLINE I32 blend(Mask m, I32 a, I32 b) { return {(m.v & a.v) | (~m.v & b.v)}; }
FIGMENT_INLINE I32 min(I32 a, I32 b) { return blend(lt(a, b), a, b); }
FIGMENT_INLINE I32 max(I32 a, I32 b) { return blend(gt(a, b), a, b); }
/// 1 where true, 0 elsewhere.
FIGMENT_INLINE I32 toInt(Mask m) { return {m.v & 1}; }

FIGMENT_INLINE F32 asFloat(I32 a) { return {FloatVector(a.v)}; }
FIGMENT_INLINE I32 asInt(F32 a) { return {IntVector(a.v)}; }
FIGMENT_INLINE F32 toFloat(I32 a) { return {__builtin_convertvector(a.v, FloatVector)}; }
/// Toward zero; only for values inside i32.
FIGMENT_INLINE I32 toIntTrunc(F32 a) { return {__builtin_convertvector(a.v, IntVector)}; }

FIGMENT_INLINE F32 loadF16(const uint16_t* p) {
  I32 bits;
  for (int i = 0; i < I32::kLanes; i++) bits.v[i] = int32_t(widenF16(p[i]));
  return asFloat(bits);
}
FIGMENT_INLINE void storeF16(uint16_t* p, F32 a) {
  const I32 bits = asInt(a);
  for (int i = 0; i < I32::kLanes; i++) p[i] = narrowF16(uint32_t(bits.v[i]));
}
/// base[index] for each lane.
FIGMENT_INLINE F32 gather(const float* base, I32 index) {
  return {FloatVector{base[index.v[0]], base[index.v[1]], base[index.v[2]], base[index.v[3]]}};
}

/// 64-bit products of the even lanes, unsigned: lanes (2i, 2i+1) hold a[2i] * b[2i].
FIGMENT_INLINE I32 mulWideEven(I32 a, I32 b) {
  return {IntVector((WideVector(a.v) & 0xffffffffu) * (WideVector(b.v) & 0xffffffffu))};
}
/// Sums of 64-bit lanes.
FIGMENT_INLINE I32 addWide(I32 a, I32 b) { return {IntVector(WideVector(a.v) + WideVector(b.v))}; }
/// Moves each odd lane to the even lane below it; the odd lanes become zero.
FIGMENT_INLINE I32 oddToEven(I32 a) { return {IntVector(WideVector(a.v) >> 32)}; }
FIGMENT_INLINE I32 evenToOdd(I32 a) { return {IntVector(WideVector(a.v) << 32)}; }
/// Even lanes of a, odd lanes of b.
FIGMENT_INLINE I32 blendEvenOdd(I32 a, I32 b) {
  return {IntVector{a.v[0], b.v[1], a.v[2], b.v[3]}};
}
FIGMENT_INLINE I32 xor3(I32 a, I32 b, I32 c) { return a ^ b ^ c; }
/// Stores the upper halves of the lanes of a, then those of b.
FIGMENT_INLINE void storeHigh16(uint16_t* p, I32 a, I32 b) {
  shr(a, 16).storeLow16(p);
  shr(b, 16).storeLow16(p + I32::kLanes);
}
/// The even lanes of a, then those of b.
FIGMENT_INLINE F32 evenLanes(F32 a, F32 b) { return {FloatVector{a.v[0], a.v[2], b.v[0], b.v[2]}}; }
/// The odd lanes of a, then those of b.
FIGMENT_INLINE F32 oddLanes(F32 a, F32 b) { return {FloatVector{a.v[1], a.v[3], b.v[1], b.v[3]}}; }
/// a0 b0 a1 b1.
FIGMENT_INLINE F32 interleaveLow(F32 a, F32 b) {
  return {FloatVector{a.v[0], b.v[0], a.v[1], b.v[1]}};
}
/// a2 b2 a3 b3.
FIGMENT_INLINE F32 interleaveHigh(F32 a, F32 b) {
  return {FloatVector{a.v[2], b.v[2], a.v[3], b.v[3]}};
}

FIGMENT_INLINE F64 operator+(F64 a, F64 b) { return {a.v + b.v}; }
FIGMENT_INLINE F64 operator-(F64 a, F64 b) { return {a.v - b.v}; }
FIGMENT_INLINE F64 operator*(F64 a, F64 b) { return {a.v * b.v}; }
FIGMENT_INLINE F64 fma(F64 a, F64 b, F64 c) {
  return {
      DoubleVector{__builtin_fma(a.v[0], b.v[0], c.v[0]), __builtin_fma(a.v[1], b.v[1], c.v[1])}};
}
FIGMENT_INLINE F64 widenLow(F32 a) { return {DoubleVector{a.v[0], a.v[1]}}; }
FIGMENT_INLINE F64 widenHigh(F32 a) { return {DoubleVector{a.v[2], a.v[3]}}; }
/// Rounds both halves to f32: the opposite of widenLow and widenHigh.
FIGMENT_INLINE F32 narrow(F64 low, F64 high) {
  return {FloatVector{float(low.v[0]), float(low.v[1]), float(high.v[0]), float(high.v[1])}};
}

/// Sums neighbours at distance 2, 1, in this order.
FIGMENT_INLINE float reduceAdd(F32 a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }
FIGMENT_INLINE double reduceAdd(F64 a) { return a.v[0] + a.v[1]; }
FIGMENT_INLINE float reduceMax(F32 a) {
  const float low = a.v[0] > a.v[1] ? a.v[0] : a.v[1];
  const float high = a.v[2] > a.v[3] ? a.v[2] : a.v[3];
  return low > high ? low : high;
}
FIGMENT_INLINE float reduceMin(F32 a) {
  const float low = a.v[0] < a.v[1] ? a.v[0] : a.v[1];
  const float high = a.v[2] < a.v[3] ? a.v[2] : a.v[3];
  return low < high ? low : high;
}
/// Orders streamed stores before what follows; ordinary stores need nothing.
FIGMENT_INLINE void streamFence() {}

}  // namespace figment::generic
