// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct TakeAlongParams {
  static constexpr uint64_t kHash = 0x71e02405d1aa94c2ull;
  int64_t outer;
  int64_t axis;
  int64_t inner;
  int64_t count;
};
static_assert(sizeof(TakeAlongParams) == 32);

}  // namespace figment
