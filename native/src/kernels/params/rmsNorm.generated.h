// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct RmsNormParams {
  static constexpr uint64_t kHash = 0x130f8af87299f504ull;
  int64_t rows;
  int64_t cols;
  double eps;
};
static_assert(sizeof(RmsNormParams) == 24);

}  // namespace figment
