// The activations of biasAct and of norms as plain kernels compute them.
#pragma once

#include <cmath>

#include "activation.h"

namespace figment::activations {

constexpr double kRootOfHalf = 0.70710678118654752440;
/// 1/√(2π).
constexpr double kNormalPeak = 0.39894228040143267794;

inline double sigmoid(double u) { return 1 / (1 + std::exp(-u)); }
/// The normal distribution function.
inline double below(double u) { return 0.5 * (1 + std::erf(u * kRootOfHalf)); }

inline double activate(double u, int32_t activation, double slope) {
  switch (activation) {
    case kReluAct:
      return u < 0 ? 0 : u;
    case kLeakyReluAct:
      return u > 0 ? u : u * slope;
    case kSiluAct:
      return u * sigmoid(u);
    case kGeluAct:
      return u * below(u);
    case kTanhAct:
      return std::tanh(u);
    case kSigmoidAct:
      return sigmoid(u);
    default:
      return u;
  }
}

inline double slopeAt(double u, int32_t activation, double slope) {
  switch (activation) {
    case kLeakyReluAct:
      return u > 0 ? 1 : slope;
    case kSiluAct: {
      const double s = sigmoid(u);
      return s + u * s * (1 - s);
    }
    case kGeluAct:
      return below(u) + u * kNormalPeak * std::exp(-0.5 * u * u);
    case kTanhAct: {
      const double t = std::tanh(u);
      return 1 - t * t;
    }
    case kSigmoidAct: {
      const double s = sigmoid(u);
      return s * (1 - s);
    }
    default:
      return 1;
  }
}

/// The cotangent of u, given that of f(u). Behind a ReLU's 0 nothing counts, not even NaN; where u
/// is NaN the cotangent stays.
inline double cotangentAt(double u, double d, int32_t activation, double slope) {
  if (activation == kReluAct) return u <= 0 ? 0 : d;
  return d * slopeAt(u, activation, slope);
}

}  // namespace figment::activations
