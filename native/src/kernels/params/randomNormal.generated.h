// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct RandomNormalParams {
  static constexpr uint64_t kHash = 0xde60a656ed8d4a90ull;
  int64_t count;
};
static_assert(sizeof(RandomNormalParams) == 8);

}  // namespace figment
