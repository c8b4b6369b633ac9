// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct AttentionParams {
  static constexpr uint64_t kHash = 0x15177a5b84e6cb7dull;
  int32_t b;
  int32_t h;
  int32_t sq;
  int32_t sk;
  int32_t d;
  int32_t causal;
  double scale;
};
static_assert(sizeof(AttentionParams) == 32);

}  // namespace figment
