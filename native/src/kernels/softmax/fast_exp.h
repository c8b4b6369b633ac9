// Exponentials for the insides of fused kernels: half the work of simd/math.h, because results
// below the normal range may vanish and no result may overflow. Relative error 1.7e-7; NaN stays
// NaN. 2^x = 2^n · 2^r with n the nearest integer and r in [-1/2, 1/2].
#pragma once

#include "../norm/isa_variant.h"

namespace figment::FIGMENT_ISA {

/// 2^r on [-1/2, 1/2]: minimax of degree 5 with value 1 at 0.
FIGMENT_INLINE F32 exp2Fraction(F32 r) {
  F32 p = F32::broadcast(1.32647273e-3f);
  p = mulAdd(p, r, F32::broadcast(9.67151299e-3f));
  p = mulAdd(p, r, F32::broadcast(5.55073358e-2f));
  p = mulAdd(p, r, F32::broadcast(2.40222424e-1f));
  p = mulAdd(p, r, F32::broadcast(6.93147004e-1f));
  return mulAdd(p, r, F32::broadcast(1.0f));
}

/// Adding 1.5·2²³ rounds to an integer; with 127 more, the low bits of the sum are a float's
/// exponent.
constexpr float kExponentShifter = 12582912.0f + 127.0f;

/// fraction · 2^n from shifted = n + kExponentShifter, n in [-127, 127]; 0 at -127.
FIGMENT_INLINE F32 scaleByPower(F32 fraction, F32 shifted) {
  return fraction * asFloat(shl(asInt(shifted), 23));
}

/// 2^x for x <= 127, exactly 0 from -127 down.
FIGMENT_INLINE F32 exp2Bounded(F32 x) {
  x = max(F32::broadcast(-127.0f), x);
  const F32 shifted = x + F32::broadcast(kExponentShifter);
  return scaleByPower(exp2Fraction(x - (shifted - F32::broadcast(kExponentShifter))), shifted);
}

constexpr float kLog2E = 1.44269502f;
constexpr double kLn2 = 0.69314718055994531;
/// log2(e) − kLog2E.
constexpr float kLog2ELow = 1.92596299e-8f;

/// e^x for x in [-87, 88].
FIGMENT_INLINE F32 expInRange(F32 x) {
  const F32 shifted = fma(x, F32::broadcast(kLog2E), F32::broadcast(kExponentShifter));
  const F32 n = shifted - F32::broadcast(kExponentShifter);
  const F32 r = fma(x, F32::broadcast(kLog2ELow), fma(x, F32::broadcast(kLog2E), -n));
  return scaleByPower(exp2Fraction(r), shifted);
}

/// e^x for x <= 0, 0 below the normal range.
FIGMENT_INLINE F32 expNonPositive(F32 x) {
  const F32 least = F32::broadcast(-87.33654f);  // ln of the least normal number
  return blend(lt(x, least), F32::zero(), expInRange(max(least, x)));
}

/// u·sigmoid(u); 0 at minus infinity.
FIGMENT_INLINE F32 siluBounded(F32 u) {
  const F32 bound = F32::broadcast(87.0f);
  const F32 bounded = max(-bound, u);
  return bounded / (F32::broadcast(1.0f) + expInRange(-min(bound, bounded)));
}

/// d(u·sigmoid(u))/du.
FIGMENT_INLINE F32 siluSlope(F32 u) {
  const F32 one = F32::broadcast(1.0f), bound = F32::broadcast(87.0f);
  const F32 bounded = min(bound, max(-bound, u));
  const F32 s = one / (one + expInRange(-bounded));
  return mulAdd(bounded * s, one - s, s);
}

}  // namespace figment::FIGMENT_ISA
