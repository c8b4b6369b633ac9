// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct GroupNormParams {
  static constexpr uint64_t kHash = 0xd3393b2d6c291c3full;
  int64_t n;
  int64_t spatial;
  int64_t c;
  int32_t groups;
  int32_t silu;
  double eps;
};
static_assert(sizeof(GroupNormParams) == 40);

}  // namespace figment
