// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct RandomUniformParams {
  static constexpr uint64_t kHash = 0x93733a9ad6d3470bull;
  int64_t count;
};
static_assert(sizeof(RandomUniformParams) == 8);

}  // namespace figment
