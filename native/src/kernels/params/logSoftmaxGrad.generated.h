// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct LogSoftmaxGradParams {
  static constexpr uint64_t kHash = 0xda7b0b1de8b08603ull;
  int64_t rows;
  int64_t cols;
};
static_assert(sizeof(LogSoftmaxGradParams) == 16);

}  // namespace figment
