// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct GatherParams {
  static constexpr uint64_t kHash = 0x25e2a63b01a968ebull;
  int64_t outer;
  int64_t axis;
  int64_t inner;
  int64_t count;
};
static_assert(sizeof(GatherParams) == 32);

}  // namespace figment
