// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct AddNoiseParams {
  static constexpr uint64_t kHash = 0xdffaf90586b098d9ull;
  int64_t n;
  int64_t inner;
  int64_t steps;
};
static_assert(sizeof(AddNoiseParams) == 24);

}  // namespace figment
