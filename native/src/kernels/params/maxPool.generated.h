// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct MaxPoolParams {
  static constexpr uint64_t kHash = 0xbe12e7156f0c422aull;
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
  int32_t ho;
  int32_t wo;
  int32_t kh;
  int32_t kw;
  int32_t stride[2];
  int32_t padLo[2];
  int32_t padHi[2];
};
static_assert(sizeof(MaxPoolParams) == 56);

}  // namespace figment
