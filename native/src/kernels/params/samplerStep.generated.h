// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct SamplerStepParams {
  static constexpr uint64_t kHash = 0x7aefb1ab51e8380eull;
  int64_t size;
  int32_t tensors;
  int32_t noise;
  int32_t clamp;
  float lo;
  float hi;
  uint8_t padding_[4];
};
static_assert(sizeof(SamplerStepParams) == 32);

}  // namespace figment
