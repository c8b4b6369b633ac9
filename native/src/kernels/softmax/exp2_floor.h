// 2^x by the floor of x and a table, as AVX-512 has them: fewer steps than fast_exp.h, and none to
// bound x.
#pragma once

#include "fast_exp.h"

namespace figment::FIGMENT_ISA {

/// Steps of 1/32 from 0 to 1.
constexpr int kPowerSteps = 32;
/// Added to a number of size up to 2^17 in front of which it is rounded down to such a step, whose
/// place it then has in its last bits.
constexpr float kStepShifter = 393216.0f;  // 1.5 · 2^18

#if FIGMENT_LEVEL == 2
/// a less the step below, 0 at infinities.
FIGMENT_INLINE F32 aboveStep(F32 a) {
  constexpr int kStepBits = 5 << 4;
  return {_mm512_reduce_ps(a.v, kStepBits | _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};
}
/// The number of the table at the step below a's fraction; any at infinities and NaN.
FIGMENT_INLINE F32 ofStep(const float* table, F32 a) {
  const __m512 shifted = _mm512_add_round_ps(a.v, _mm512_set1_ps(kStepShifter),
                                             _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  return {_mm512_permutex2var_ps(_mm512_load_ps(table), _mm512_castps_si512(shifted),
                                 _mm512_load_ps(table + kLanes))};
}
/// a · 2^floor(n); where that is below the normal range, 0 may come instead.
FIGMENT_INLINE F32 scaleByFloor(F32 a, F32 n) { return {_mm512_scalef_ps(a.v, n.v)}; }
#else
FIGMENT_INLINE F32 aboveStep(F32 a) {
  constexpr float kSteps = kPowerSteps;
  const F32 steps = a * F32::broadcast(kSteps);
  const F32 rest = (steps - floor(steps)) * F32::broadcast(1 / kSteps);
  return blend(isNan(rest) & ~isNan(a), F32::zero(), rest);
}
FIGMENT_INLINE F32 ofStep(const float* table, F32 a) {
  // Fractions of small negative numbers round to 1. Comparisons put NaN, of infinities, at 0.
  const F32 steps = min(F32::broadcast(float(kPowerSteps - 1)),
                        floor((a - floor(a)) * F32::broadcast(float(kPowerSteps))));
  float step[kLanes], found[kLanes];
  steps.store(step);
  for (int i = 0; i < kLanes; i++) found[i] = table[step[i] > 0 ? int(step[i]) : 0];
  return F32::load(found);
}
FIGMENT_INLINE F32 scaleByFloor(F32 a, F32 n) {
  n = min(F32::broadcast(128.0f), max(F32::broadcast(-127.0f), n));
  return a * asFloat(shl(toIntTrunc(floor(n)) + I32::broadcast(127), 23));
}
#endif

// 2^x = 2^floor(x) · 2^step · 2^r with r in [0, 1/32), of which 2^r is a minimax polynomial, whose
// constant term the tables of 2^step hold. What is below the normal range may vanish.

/// 2^x: relative error 1.7e-7, by degree 2.
FIGMENT_INLINE F32 exp2ByFloor(F32 x) {
  alignas(64) static constexpr float kPowers[kPowerSteps] = {
      1.0f,        1.0218972f,  1.04427385f, 1.06714046f, 1.09050775f, 1.1143868f,  1.1387887f,
      1.1637249f,  1.1892072f,  1.21524739f, 1.24185789f, 1.26905107f, 1.29683959f, 1.32523668f,
      1.35425568f, 1.38390994f, 1.41421366f, 1.44518089f, 1.47682619f, 1.50916445f, 1.54221094f,
      1.5759809f,  1.61049044f, 1.64575553f, 1.68179297f, 1.71861935f, 1.75625229f, 1.79470921f,
      1.83400822f, 1.87416768f, 1.91520667f, 1.95714426f};
  const F32 r = aboveStep(x), power = ofStep(kPowers, x);
  const F32 p = mulAdd(r, F32::broadcast(0.242840609f), F32::broadcast(0.693116526f)) * r;
  return scaleByFloor(mulAdd(power, p, power), x);
}

}  // namespace figment::FIGMENT_ISA
