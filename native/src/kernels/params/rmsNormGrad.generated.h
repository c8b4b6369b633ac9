// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct RmsNormGradParams {
  static constexpr uint64_t kHash = 0x66452059ab2ef180ull;
  int64_t rows;
  int64_t cols;
  double eps;
};
static_assert(sizeof(RmsNormGradParams) == 24);

}  // namespace figment
