// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct AttentionGradParams {
  static constexpr uint64_t kHash = 0xed3038aa6a3a5b79ull;
  int32_t b;
  int32_t h;
  int32_t sq;
  int32_t sk;
  int32_t d;
  int32_t causal;
  double scale;
};
static_assert(sizeof(AttentionGradParams) == 32);

}  // namespace figment
