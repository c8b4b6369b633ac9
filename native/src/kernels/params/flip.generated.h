// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct FlipParams {
  static constexpr uint64_t kHash = 0xb1fa940a6c497cf4ull;
  int32_t axes;
  uint8_t padding_[4];
};
static_assert(sizeof(FlipParams) == 8);

}  // namespace figment
