// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct RandomIntegerParams {
  static constexpr uint64_t kHash = 0x31dc46541103f553ull;
  int64_t count;
  int64_t lo;
  int64_t hi;
};
static_assert(sizeof(RandomIntegerParams) == 24);

}  // namespace figment
