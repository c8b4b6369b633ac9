// How exactly matmul and the convolutions multiply f32 factors, as their parameters say it. The
// numbers are part of the program format.
#pragma once

#include <cstdint>

namespace figment {

/// kFast: within 2⁻¹⁵ of the sum of the terms' sizes. kTf32: factors may lose what follows their
/// 11th significant bit.
enum Precision : int32_t { kHighest = 0, kFast = 1, kTf32 = 2 };
constexpr int32_t kLastPrecision = kTf32;

}  // namespace figment
