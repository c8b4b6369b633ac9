// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct BatchNormParams {
  static constexpr uint64_t kHash = 0xa077627a4addca4aull;
  int64_t rows;
  int64_t c;
  double eps;
};
static_assert(sizeof(BatchNormParams) == 24);

}  // namespace figment
