// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct CrossEntropyParams {
  static constexpr uint64_t kHash = 0xdbd9c715c7e6bf84ull;
  int64_t rows;
  int64_t cols;
};
static_assert(sizeof(CrossEntropyParams) == 16);

}  // namespace figment
