// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct ResizeNearestGradParams {
  static constexpr uint64_t kHash = 0x5a98da8c1a506d4aull;
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
  int32_t ho;
  int32_t wo;
};
static_assert(sizeof(ResizeNearestGradParams) == 24);

}  // namespace figment
