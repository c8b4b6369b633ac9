// What groupNorm and batchNorm apply to u = γ·x̂ + β, and the cotangent of u.
#pragma once

#include "../../device/functions.h"
#include "kernels/bias_act/activation.h"

namespace figment::cuda {

template <class W>
struct NormActivation {
  int32_t kind = kLinearAct;
  W slope = 0;  ///< of leaky ReLU

  template <class Params>
  static NormActivation of(const Params& p) {
    return {p.activation, W(p.slope)};
  }

#ifdef FIGMENT_KERNELS

  /// f(u) in place of each u.
  template <int N>
  FIGMENT_DEVICE void apply(W (&u)[N]) const {
    if (kind == kLinearAct) return;
    // Asked once, not of each number.
    if (kind == kSiluAct) {
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) u[j] *= gate(u[j]);
    } else {
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) u[j] = u[j] > W(0) ? u[j] : below(u[j]);
    }
  }
  /// The cotangent of u in place of that of f(u).
  template <int N>
  FIGMENT_DEVICE void applySlopes(const W (&u)[N], W (&d)[N]) const {
    if (kind == kLinearAct) return;
    if (kind == kSiluAct) {
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) {
        const W s = gate(u[j]);
        d[j] *= s + u[j] * s * (W(1) - s);
      }
    } else if (kind == kReluAct) {
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++)
        if (u[j] <= W(0)) d[j] = W(0);  // NaN keeps the cotangent, as of `relu`
    } else {
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++)
        if (!(u[j] > W(0))) d[j] *= slope;
    }
  }

 private:
  FIGMENT_DEVICE static float gate(float u) { return sigmoidFast(u); }
  FIGMENT_DEVICE static double gate(double u) { return sigmoid(u); }
  /// f(u) where u is not positive; NaN stays.
  FIGMENT_DEVICE W below(W u) const {
    if (kind == kLeakyReluAct) return u * slope;
    return u < W(0) ? W(0) : u;
  }

#endif
};

}  // namespace figment::cuda
