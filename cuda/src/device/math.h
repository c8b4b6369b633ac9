// Functions of one number: f32 as the sequences of sequences.h, f64 as CUDA has them. NaN stays
// NaN, and infinities, zeros and denormals give what packages/tensor/docs/numerics.md says.
#pragma once

#include <cmath>

#include "instructions.h"
#include "number.h"
#include "sequences.h"

namespace figment::cuda {

struct Truth {
  bool value;
};
FIGMENT_DEVICE Truth operator&(Truth a, Truth b) { return {a.value && b.value}; }
FIGMENT_DEVICE Truth operator|(Truth a, Truth b) { return {a.value || b.value}; }
FIGMENT_DEVICE Truth operator~(Truth a) { return {!a.value}; }

/// An i32 that wraps around.
struct Whole {
  int32_t value;
  Whole() = default;
  FIGMENT_DEVICE explicit Whole(int32_t value) : value(value) {}
};
FIGMENT_DEVICE Whole operator+(Whole a, Whole b) {
  return Whole(int32_t(uint32_t(a.value) + uint32_t(b.value)));
}
FIGMENT_DEVICE Whole operator-(Whole a, Whole b) {
  return Whole(int32_t(uint32_t(a.value) - uint32_t(b.value)));
}
FIGMENT_DEVICE Whole operator&(Whole a, Whole b) { return Whole(a.value & b.value); }
FIGMENT_DEVICE Whole operator^(Whole a, Whole b) { return Whole(a.value ^ b.value); }
FIGMENT_DEVICE Whole shl(Whole a, int by) { return Whole(int32_t(uint32_t(a.value) << by)); }
FIGMENT_DEVICE Whole sar(Whole a, int by) { return Whole(a.value >> by); }
FIGMENT_DEVICE Truth eq(Whole a, Whole b) { return {a.value == b.value}; }
FIGMENT_DEVICE Truth gt(Whole a, Whole b) { return {a.value > b.value}; }
FIGMENT_DEVICE Whole blend(Truth m, Whole a, Whole b) { return m.value ? a : b; }
FIGMENT_DEVICE Whole variable(Whole x) { return x; }
FIGMENT_DEVICE void assign(Whole& x, Whole value) { x = value; }

/// A u64 that wraps around.
struct LongWhole {
  uint64_t value;
  LongWhole() = default;
  FIGMENT_DEVICE explicit LongWhole(uint64_t value) : value(value) {}
};
FIGMENT_DEVICE LongWhole operator+(LongWhole a, LongWhole b) {
  return LongWhole(a.value + b.value);
}
FIGMENT_DEVICE LongWhole multiply(Whole a, Whole b) {
  return LongWhole(uint64_t(uint32_t(a.value)) * uint32_t(b.value));
}
/// Shifts by 0 to 64.
FIGMENT_DEVICE LongWhole shl(LongWhole a, Whole by) {
  return LongWhole(by.value > 63 ? 0 : a.value << by.value);
}
FIGMENT_DEVICE LongWhole shr(LongWhole a, Whole by) {
  return LongWhole(by.value > 63 ? 0 : a.value >> by.value);
}
FIGMENT_DEVICE LongWhole upperHalf(LongWhole a) { return LongWhole(a.value >> 32); }
FIGMENT_DEVICE LongWhole lowerHalf(LongWhole a) { return LongWhole(uint32_t(a.value)); }
FIGMENT_DEVICE Whole toInt(LongWhole a) { return Whole(int32_t(uint32_t(a.value))); }
FIGMENT_DEVICE LongWhole blend(Truth m, LongWhole a, LongWhole b) { return m.value ? a : b; }
/// The upper word of the two shifted left by 0 to 31.
FIGMENT_DEVICE Whole funnelLeft(Whole high, Whole low, Whole by) {
  const uint64_t both = uint64_t(uint32_t(high.value)) << 32 | uint32_t(low.value);
  return Whole(int32_t(uint32_t(both << by.value >> 32)));
}

/// An f32 whose operations are never contracted.
struct Number {
  using Int = Whole;
  using Long = LongWhole;
  float value;
  Number() = default;
  FIGMENT_DEVICE explicit Number(float value) : value(value) {}
  template <class Condition, class Work>
  FIGMENT_DEVICE static void repeatWhile(Condition condition, Work work) {
    while (condition().value) work();
  }
};
FIGMENT_DEVICE Number operator+(Number a, Number b) { return Number(__fadd_rn(a.value, b.value)); }
FIGMENT_DEVICE Number operator-(Number a, Number b) { return Number(__fsub_rn(a.value, b.value)); }
FIGMENT_DEVICE Number operator*(Number a, Number b) { return Number(__fmul_rn(a.value, b.value)); }
FIGMENT_DEVICE Number operator/(Number a, Number b) { return Number(__fdiv_rn(a.value, b.value)); }
FIGMENT_DEVICE Number operator-(Number a) { return Number(-a.value); }
FIGMENT_DEVICE Number fma(Number a, Number b, Number c) {
  return Number(__fmaf_rn(a.value, b.value, c.value));
}
FIGMENT_DEVICE Number ratio(Number a, Number b) {
  return Number(__fmul_rn(a.value, reciprocalFast(b.value)));
}
FIGMENT_DEVICE Number exp2Approx(Number x) { return Number(exp2Fast(x.value)); }
FIGMENT_DEVICE Number min(Number a, Number b) { return Number(fminf(a.value, b.value)); }
FIGMENT_DEVICE Number max(Number a, Number b) { return Number(fmaxf(a.value, b.value)); }
FIGMENT_DEVICE Truth lt(Number a, Number b) { return {a.value < b.value}; }
FIGMENT_DEVICE Truth ge(Number a, Number b) { return {a.value >= b.value}; }
FIGMENT_DEVICE Truth gt(Number a, Number b) { return {a.value > b.value}; }
FIGMENT_DEVICE Truth eq(Number a, Number b) { return {a.value == b.value}; }
FIGMENT_DEVICE Truth ne(Number a, Number b) { return {a.value != b.value}; }
FIGMENT_DEVICE Number blend(Truth m, Number a, Number b) { return m.value ? a : b; }
FIGMENT_DEVICE Number abs(Number x) { return Number(fabsf(x.value)); }
FIGMENT_DEVICE Number copysign(Number x, Number sign) {
  return Number(copysignf(x.value, sign.value));
}
FIGMENT_DEVICE Number floor(Number x) { return Number(floorf(x.value)); }
FIGMENT_DEVICE Whole asInt(Number x) { return Whole(int32_t(floatToBits(x.value))); }
FIGMENT_DEVICE Number asFloat(Whole x) { return Number(bitsToFloat(uint32_t(x.value))); }
FIGMENT_DEVICE Number toFloat(Whole x) { return Number(float(x.value)); }
FIGMENT_DEVICE Number toFloatSigned(LongWhole x) { return Number(float(int64_t(x.value))); }
FIGMENT_DEVICE Number variable(Number x) { return x; }
FIGMENT_DEVICE void assign(Number& x, Number value) { x = value; }

template <class Work>
FIGMENT_DEVICE void when(Truth condition, Work work) {
  if (condition.value) work();
}

#define FIGMENT_FUNCTION(name) \
  FIGMENT_DEVICE float name##Of(float x) { return sequences::name(Number(x)).value; }
FIGMENT_FUNCTION(sign)
FIGMENT_FUNCTION(exp)
FIGMENT_FUNCTION(expm1)
FIGMENT_FUNCTION(log)
FIGMENT_FUNCTION(log1p)
FIGMENT_FUNCTION(softplus)
FIGMENT_FUNCTION(sigmoid)
FIGMENT_FUNCTION(tanh)
FIGMENT_FUNCTION(erf)
FIGMENT_FUNCTION(sin)
FIGMENT_FUNCTION(cos)
#undef FIGMENT_FUNCTION
/// x * sigmoid(x); NaN at minus infinity, as the product of the two is.
FIGMENT_DEVICE float siluOf(float x) { return x * sigmoidOf(x); }
FIGMENT_DEVICE float powOf(float x, float y) { return sequences::pow(Number(x), Number(y)).value; }
FIGMENT_DEVICE float remOf(float x, float y) { return sequences::rem(Number(x), Number(y)).value; }
FIGMENT_DEVICE float sqrtOf(float x) { return __fsqrt_rn(x); }
FIGMENT_DEVICE float rsqrtOf(float x) { return rsqrtf(x); }
FIGMENT_DEVICE float divide(float a, float b) { return __fdiv_rn(a, b); }

FIGMENT_DEVICE double signOf(double x) { return x == 0 || x != x ? x : ::copysign(1.0, x); }
FIGMENT_DEVICE double expOf(double x) { return ::exp(x); }
FIGMENT_DEVICE double expm1Of(double x) { return ::expm1(x); }
FIGMENT_DEVICE double logOf(double x) { return ::log(x); }
FIGMENT_DEVICE double log1pOf(double x) { return ::log1p(x); }
FIGMENT_DEVICE double softplusOf(double x) {
  return (x < 0 ? 0.0 : x) + ::log1p(::exp(-::fabs(x)));
}
FIGMENT_DEVICE double sigmoidOf(double x) {
  const double e = ::exp(-::fabs(x));
  return (x < 0 ? e : 1.0) / (1.0 + e);
}
FIGMENT_DEVICE double siluOf(double x) { return x * sigmoidOf(x); }
FIGMENT_DEVICE double tanhOf(double x) { return ::tanh(x); }
FIGMENT_DEVICE double erfOf(double x) { return ::erf(x); }
FIGMENT_DEVICE double sinOf(double x) { return ::sin(x); }
FIGMENT_DEVICE double cosOf(double x) { return ::cos(x); }
FIGMENT_DEVICE double powOf(double x, double y) { return ::pow(x, y); }
FIGMENT_DEVICE double remOf(double x, double y) { return ::fmod(x, y); }
FIGMENT_DEVICE double sqrtOf(double x) { return ::sqrt(x); }
FIGMENT_DEVICE double rsqrtOf(double x) { return 1.0 / ::sqrt(x); }
FIGMENT_DEVICE double divide(double a, double b) { return a / b; }

/// NaN where either is; of equal ones the second.
template <class T>
FIGMENT_DEVICE T maximumOf(T a, T b) {
  return a != a ? a : a > b ? a : b;
}
template <class T>
FIGMENT_DEVICE T minimumOf(T a, T b) {
  return a != a ? a : a < b ? a : b;
}

/// Toward zero; saturates; NaN becomes 0.
template <class T>
FIGMENT_DEVICE int32_t toInteger(T x) {
  if (!(x == x)) return 0;
  if (x >= T(2147483648.0)) return INT32_MAX;
  if (x <= T(-2147483648.0)) return INT32_MIN;
  return int32_t(x);
}

}  // namespace figment::cuda
