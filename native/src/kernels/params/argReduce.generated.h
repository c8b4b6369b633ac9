// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct ArgReduceParams {
  static constexpr uint64_t kHash = 0xdf32068b655ef0ceull;
  int64_t outer;
  int64_t axis;
  int64_t inner;
  int32_t kind;
  uint8_t padding_[4];
};
static_assert(sizeof(ArgReduceParams) == 32);

}  // namespace figment
