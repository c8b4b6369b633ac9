// The activations of biasAct and the cotangents before them.
#pragma once

#include "../../device/functions.h"
#include "kernels/bias_act/activation.h"

namespace figment::cuda {

/// The normal distribution function.
template <class W>
FIGMENT_DEVICE W normalBelow(W u) {
  return W(0.5) * (W(1) + errorFunction(u * W(0.70710678118654752440)));
}

template <class W>
FIGMENT_DEVICE W activate(W u, int32_t activation, W slope) {
  switch (activation) {
    case kReluAct:
      return u < 0 ? W(0) : u;
    case kLeakyReluAct:
      return u > 0 ? u : u * slope;
    case kSiluAct:
      return u * sigmoid(u);
    case kGeluAct:
      return u * normalBelow(u);
    case kTanhAct:
      return hyperbolicTangent(u);
    case kSigmoidAct:
      return sigmoid(u);
    default:
      return u;
  }
}

/// The cotangent of u, given that of f(u). Behind a ReLU's 0 nothing counts, not even NaN; where u
/// is NaN the cotangent stays.
template <class W>
FIGMENT_DEVICE W activationCotangent(W u, W d, int32_t activation, W slope) {
  switch (activation) {
    case kReluAct:
      return u <= 0 ? W(0) : d;
    case kLeakyReluAct:
      return u > 0 ? d : d * slope;
    case kSiluAct:
      return d * siluSlope(u);
    case kGeluAct:  // 1/√(2π) is the height of the normal distribution
      return d * (normalBelow(u) + u * W(0.39894228040143267794) * exponential(W(-0.5) * u * u));
    case kTanhAct: {
      const W t = hyperbolicTangent(u);
      return d * (W(1) - t * t);
    }
    case kSigmoidAct: {
      const W s = sigmoid(u);
      return d * (s * (W(1) - s));
    }
    default:
      return d;
  }
}

/// What biasAct does to one number, with its bias added.
template <class W>
struct BiasActivation {
  int32_t activation, clamped;
  W slope, gain, limit;

  template <class P>
  static BiasActivation of(const P& p) {
    return {p.activation, p.clamped, W(p.slope), W(p.gain), W(p.limit)};
  }
  FIGMENT_DEVICE W value(W u) const {
    W value = activate(u, activation, slope) * gain;
    if (clamped && value > limit) value = limit;
    if (clamped && value < -limit) value = -limit;
    return value;
  }
  /// The cotangent of u: 0 where the value is clamped.
  FIGMENT_DEVICE W cotangent(W u, W dy) const {
    if (clamped) {
      const W value = activate(u, activation, slope) * gain;
      if (value > limit || value < -limit) return W(0);
    }
    return activationCotangent(u, dy * gain, activation, slope);
  }
};

}  // namespace figment::cuda
