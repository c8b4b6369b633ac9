// What matmul and conv2d may apply to their results before storing them. The numbers are part of
// the program format.
#pragma once

#include <cmath>
#include <cstdint>

namespace figment {

enum Activation : int32_t { kNoActivation = 0, kSilu = 1, kRelu = 2 };
constexpr int32_t kLastActivation = kRelu;

/// The plain meaning, for the reference kernels. NaN stays NaN.
inline double activatePlainly(double x, int32_t activation) {
  if (activation == kSilu) return x / (1.0 + std::exp(-x));
  if (activation == kRelu) return x < 0 ? 0 : x;
  return x;
}

}  // namespace figment
