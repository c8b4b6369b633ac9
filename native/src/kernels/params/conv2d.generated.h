// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct Conv2dParams {
  static constexpr uint64_t kHash = 0x5c027f461b91e074ull;
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
  int32_t ho;
  int32_t wo;
  int32_t o;
  int32_t kh;
  int32_t kw;
  int32_t stride[2];
  int32_t padLo[2];
  int32_t padHi[2];
  int32_t dilation[2];
  int32_t groups;
  int32_t bias;
  int32_t activation;
};
static_assert(sizeof(Conv2dParams) == 80);

}  // namespace figment
