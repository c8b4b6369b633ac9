// Functions of one number, in the width of their argument.
#pragma once

#include "instructions.h"
#include "number.h"

#ifdef FIGMENT_KERNELS

namespace figment::cuda {

FIGMENT_DEVICE float exponential(float x) { return expf(x); }
FIGMENT_DEVICE double exponential(double x) { return exp(x); }
FIGMENT_DEVICE float logarithm(float x) { return logf(x); }
FIGMENT_DEVICE double logarithm(double x) { return log(x); }
FIGMENT_DEVICE float squareRoot(float x) { return sqrtf(x); }
FIGMENT_DEVICE double squareRoot(double x) { return sqrt(x); }
FIGMENT_DEVICE float hyperbolicTangent(float x) { return tanhf(x); }
FIGMENT_DEVICE double hyperbolicTangent(double x) { return tanh(x); }
FIGMENT_DEVICE float errorFunction(float x) { return erff(x); }
FIGMENT_DEVICE double errorFunction(double x) { return erf(x); }

template <class W>
FIGMENT_DEVICE W sigmoid(W x) {
  return W(1) / (W(1) + exponential(-x));
}
/// The same with the hardware's exponential and reciprocal, to a few units in the last place.
FIGMENT_DEVICE float sigmoidFast(float x) {
  return __fdividef(1.0f, 1.0f + exp2Fast(-1.44269504088896341f * x));
}
/// d(x·sigmoid(x))/dx.
template <class W>
FIGMENT_DEVICE W siluSlope(W x) {
  const W s = sigmoid(x);
  return s + x * s * (W(1) - s);
}

}  // namespace figment::cuda

#endif
