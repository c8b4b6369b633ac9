// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct LogSoftmaxParams {
  static constexpr uint64_t kHash = 0x381848ee14b1e147ull;
  int64_t rows;
  int64_t cols;
};
static_assert(sizeof(LogSoftmaxParams) == 16);

}  // namespace figment
