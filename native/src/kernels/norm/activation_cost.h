// What the activation after groupNorm and batchNorm adds to their operations, a number.
#pragma once

#include "../bias_act/activation.h"

namespace figment {

constexpr double kSiluFlops = 14, kSiluSlopeFlops = kSiluFlops + 6;

/// The others are a comparison, which counts as nothing.
inline double activationFlops(int32_t activation) {
  return activation == kSiluAct ? kSiluFlops : 0;
}
inline double slopeFlops(int32_t activation) {
  return activation == kSiluAct ? kSiluSlopeFlops : 0;
}

}  // namespace figment
