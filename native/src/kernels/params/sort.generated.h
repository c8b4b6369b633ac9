// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct SortParams {
  static constexpr uint64_t kHash = 0x9d9fe05d52bf6345ull;
  int64_t rows;
  int64_t cols;
  int64_t count;
  int32_t descending;
  uint8_t padding_[4];
};
static_assert(sizeof(SortParams) == 32);

}  // namespace figment
