// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct DynamicSliceParams {
  static constexpr uint64_t kHash = 0xee59999c65820155ull;
  int32_t rank;
  uint8_t padding_[4];
};
static_assert(sizeof(DynamicSliceParams) == 8);

}  // namespace figment
