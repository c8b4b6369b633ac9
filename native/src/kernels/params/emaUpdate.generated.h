// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct EmaUpdateParams {
  static constexpr uint64_t kHash = 0xc2ac939caa384f6dull;
  int32_t count;
  uint8_t padding_[4];
};
static_assert(sizeof(EmaUpdateParams) == 8);

}  // namespace figment
