// GEGLU on the way out of products: u·gelu(v) of sums u and v of both halves of a row. Include only
// from files compiled for one instruction set.
#pragma once

#include "kernels/gemm/elements.inl.h"
#include "kernels/norm/coarse_sigmoid.h"
#include "kernels/simd/functions.h"

namespace figment::FIGMENT_ISA::gemm {

/// With the bits of the elementwise operations that gelu is made of.
FIGMENT_INLINE F32 gate(F32 u, F32 v) {
  const F32 one = F32::broadcast(1.0f), half = F32::broadcast(0.5f);
  return u * (v * half * (erf(v * F32::broadcast(0.707106781f)) + one));
}

#if FIGMENT_LEVEL == 2
/// For results that are rounded to bf16: Φ(v) = sigmoid(v·P(v²)), of which P is minimax for |v| up
/// to 4.5. Relative error 2⁻¹² there, and beyond it 5e-8 at most, as small as what cancels in 1 +
/// erf.
FIGMENT_INLINE F32 coarseGate(F32 u, F32 v) {
  const F32 square = min(F32::broadcast(30.0f), v * v);
  F32 p = F32::broadcast(-4.0465267e-8f);
  p = fma(p, square, F32::broadcast(2.5321443e-6f));
  p = fma(p, square, F32::broadcast(-4.8962745e-5f));
  p = fma(p, square, F32::broadcast(-4.0492745e-4f));
  p = fma(p, square, F32::broadcast(7.3464934e-2f));
  p = fma(p, square, F32::broadcast(1.5952346f));
  return u * v * coarseSigmoid(v * p);
}
#else
FIGMENT_INLINE F32 coarseGate(F32 u, F32 v) { return gate(u, v); }
#endif

/// Stores what is left of the first `count` (or all) sums of each half.
FIGMENT_INLINE void storeGated(Results to, F32 u, F32 v, int64_t count) {
  const bool coarsely = to.format == Format::bf16;
  storeElements(to, coarsely ? coarseGate(u, v) : gate(u, v), int(smaller(kLanes, count)));
}

}  // namespace figment::FIGMENT_ISA::gemm
