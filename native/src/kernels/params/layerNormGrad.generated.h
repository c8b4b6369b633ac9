// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct LayerNormGradParams {
  static constexpr uint64_t kHash = 0xb3881d2ab0b15c8bull;
  int64_t rows;
  int64_t cols;
  double eps;
};
static_assert(sizeof(LayerNormGradParams) == 24);

}  // namespace figment
