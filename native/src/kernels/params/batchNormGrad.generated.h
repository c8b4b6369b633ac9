// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct BatchNormGradParams {
  static constexpr uint64_t kHash = 0xd19ee77db417d1b6ull;
  int64_t rows;
  int64_t c;
  double eps;
};
static_assert(sizeof(BatchNormGradParams) == 24);

}  // namespace figment
