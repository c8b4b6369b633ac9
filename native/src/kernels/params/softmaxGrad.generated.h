// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct SoftmaxGradParams {
  static constexpr uint64_t kHash = 0xe3bf8df8f0c9da77ull;
  int64_t rows;
  int64_t cols;
};
static_assert(sizeof(SoftmaxGradParams) == 16);

}  // namespace figment
