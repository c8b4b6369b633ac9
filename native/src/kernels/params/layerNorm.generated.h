// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct LayerNormParams {
  static constexpr uint64_t kHash = 0x3cd48196d9e10ee3ull;
  int64_t rows;
  int64_t cols;
  double eps;
};
static_assert(sizeof(LayerNormParams) == 24);

}  // namespace figment
