// 2^x for factors that are rounded to bf16 afterwards: fewer steps than fast_exp.h, and none to
// bound x, as AVX-512 has them.
#pragma once

#include "fast_exp.h"

namespace figment::FIGMENT_ISA {

#if FIGMENT_LEVEL == 2
/// a − floor(a), 0 at infinities.
FIGMENT_INLINE F32 fraction(F32 a) {
  return {_mm512_reduce_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};
}
/// a · 2^floor(n); where that is below the normal range, 0 may come instead.
FIGMENT_INLINE F32 scaleByFloor(F32 a, F32 n) { return {_mm512_scalef_ps(a.v, n.v)}; }
#else
FIGMENT_INLINE F32 fraction(F32 a) {
  const F32 rest = a - floor(a);
  return blend(isNan(rest) & ~isNan(a), F32::zero(), rest);
}
FIGMENT_INLINE F32 scaleByFloor(F32 a, F32 n) {
  n = min(F32::broadcast(128.0f), max(F32::broadcast(-127.0f), n));
  return a * asFloat(shl(toIntTrunc(floor(n)) + I32::broadcast(127), 23));
}
#endif

/// 2^x: relative error 2.7e-6, and what is below the normal range may vanish. 2^r on [0, 1] is a
/// minimax polynomial of degree 4.
FIGMENT_INLINE F32 exp2ForBf16(F32 x) {
  const F32 r = fraction(x);
  F32 p = F32::broadcast(1.353416778e-2f);
  p = mulAdd(p, r, F32::broadcast(5.201146007e-2f));
  p = mulAdd(p, r, F32::broadcast(2.414427549e-1f));
  p = mulAdd(p, r, F32::broadcast(6.930038333e-1f));
  p = mulAdd(p, r, F32::broadcast(1.000002623f));
  return scaleByFloor(p, x);
}

}  // namespace figment::FIGMENT_ISA
