// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct CheckFiniteParams {
  static constexpr uint64_t kHash = 0xe7ca614de6f58ef5ull;
  int32_t count;
  uint8_t padding_[4];
};
static_assert(sizeof(CheckFiniteParams) == 8);

}  // namespace figment
