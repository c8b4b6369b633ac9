// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct ScatterAddAlongParams {
  static constexpr uint64_t kHash = 0x08aaab0a9cd61d94ull;
  int64_t outer;
  int64_t axis;
  int64_t inner;
  int64_t count;
};
static_assert(sizeof(ScatterAddAlongParams) == 32);

}  // namespace figment
