// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct GroupNormGradParams {
  static constexpr uint64_t kHash = 0x517060ec802ab80full;
  int64_t n;
  int64_t spatial;
  int64_t c;
  int32_t groups;
  int32_t silu;
  double eps;
};
static_assert(sizeof(GroupNormGradParams) == 40);

}  // namespace figment
