// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct BiasActParams {
  static constexpr uint64_t kHash = 0xaa60b478360746e0ull;
  int64_t rows;
  int64_t c;
  int32_t activation;
  int32_t clamped;
  double slope;
  double gain;
  double limit;
};
static_assert(sizeof(BiasActParams) == 48);

}  // namespace figment
