// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct ScatterAddParams {
  static constexpr uint64_t kHash = 0xc79afdf3029b2261ull;
  int64_t outer;
  int64_t axis;
  int64_t inner;
  int64_t count;
};
static_assert(sizeof(ScatterAddParams) == 32);

}  // namespace figment
