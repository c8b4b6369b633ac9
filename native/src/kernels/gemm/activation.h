// What matmul and conv2d may apply to their results before storing them. The numbers are part of
// the program format. GEGLU (Shazeer 2020), of matmul alone, makes u·gelu(v) of the halves u and v
// of each row, so that the result has half as many columns as the product.
#pragma once

#include <cmath>
#include <cstdint>

namespace figment {

enum Activation : int32_t { kNoActivation = 0, kSilu = 1, kRelu = 2, kGeglu = 3 };
constexpr int32_t kLastActivation = kRelu, kLastOfMatmul = kGeglu;

/// Columns that are left of a product's.
constexpr int64_t resultColumns(int64_t columns, int32_t activation) {
  return activation == kGeglu ? columns / 2 : columns;
}

/// The plain meaning, for the reference kernels. NaN stays NaN.
inline double activatePlainly(double x, int32_t activation) {
  if (activation == kSilu) return x / (1.0 + std::exp(-x));
  if (activation == kRelu) return x < 0 ? 0 : x;
  return x;
}
/// u·gelu(v) = u·v·Φ(v).
inline double gatePlainly(double u, double v) {
  return u * (0.5 * v * (1.0 + std::erf(v * std::sqrt(0.5))));
}

}  // namespace figment
