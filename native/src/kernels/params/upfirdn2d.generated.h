// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct Upfirdn2dParams {
  static constexpr uint64_t kHash = 0x4a6f05384c0cbe96ull;
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
  int32_t ho;
  int32_t wo;
  int32_t kh;
  int32_t kw;
  int32_t up[2];
  int32_t down[2];
  int32_t padLo[2];
  int32_t padHi[2];
  int32_t flip;
  uint8_t padding_[4];
};
static_assert(sizeof(Upfirdn2dParams) == 72);

}  // namespace figment
