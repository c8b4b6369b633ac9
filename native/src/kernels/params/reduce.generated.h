// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct ReduceParams {
  static constexpr uint64_t kHash = 0x108852a84a28d214ull;
  int32_t kind;
  int32_t axes;
};
static_assert(sizeof(ReduceParams) == 8);

}  // namespace figment
