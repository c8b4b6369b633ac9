// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct RandomCategoricalParams {
  static constexpr uint64_t kHash = 0x2516a595c502fabdull;
  int64_t rows;
  int64_t cols;
  int64_t draws;
};
static_assert(sizeof(RandomCategoricalParams) == 24);

}  // namespace figment
