// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct DynamicUpdateSliceParams {
  static constexpr uint64_t kHash = 0x3a73c3ae0c695258ull;
  int32_t rank;
  uint8_t padding_[4];
};
static_assert(sizeof(DynamicUpdateSliceParams) == 8);

}  // namespace figment
