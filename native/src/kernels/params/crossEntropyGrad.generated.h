// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct CrossEntropyGradParams {
  static constexpr uint64_t kHash = 0x29c449fd08cb699cull;
  int64_t rows;
  int64_t cols;
};
static_assert(sizeof(CrossEntropyGradParams) == 16);

}  // namespace figment
