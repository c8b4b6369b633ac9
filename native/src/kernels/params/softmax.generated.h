// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct SoftmaxParams {
  static constexpr uint64_t kHash = 0x2a205910f9178ddbull;
  int64_t rows;
  int64_t cols;
};
static_assert(sizeof(SoftmaxParams) == 16);

}  // namespace figment
