// The activations of biasAct, of which norms know the first. The numbers are part of the program
// format.
#pragma once

#include <cstdint>

namespace figment {

enum BiasActivation : int32_t {
  kLinearAct = 0,
  kReluAct = 1,
  kLeakyReluAct = 2,
  kSiluAct = 3,
  kGeluAct = 4,
  kTanhAct = 5,
  kSigmoidAct = 6,
};
constexpr int32_t kLastBiasActivation = kSigmoidAct, kLastNormActivation = kSiluAct;

}  // namespace figment
