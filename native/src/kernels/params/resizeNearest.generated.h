// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct ResizeNearestParams {
  static constexpr uint64_t kHash = 0xc49848c1cfc6c876ull;
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
  int32_t ho;
  int32_t wo;
};
static_assert(sizeof(ResizeNearestParams) == 24);

}  // namespace figment
