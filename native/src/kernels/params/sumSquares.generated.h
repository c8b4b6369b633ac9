// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct SumSquaresParams {
  static constexpr uint64_t kHash = 0x5a4bbf090d6d1b02ull;
  int32_t count;
  uint8_t padding_[4];
};
static_assert(sizeof(SumSquaresParams) == 8);

}  // namespace figment
