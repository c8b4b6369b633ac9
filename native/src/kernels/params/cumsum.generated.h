// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct CumsumParams {
  static constexpr uint64_t kHash = 0xf896c31b5ca81cdbull;
  int64_t outer;
  int64_t axis;
  int64_t inner;
  int32_t exclusive;
  int32_t reverse;
};
static_assert(sizeof(CumsumParams) == 32);

}  // namespace figment
