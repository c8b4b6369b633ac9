// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct BiasActGradParams {
  static constexpr uint64_t kHash = 0x768358bf4fff2f38ull;
  int64_t rows;
  int64_t c;
  int32_t activation;
  int32_t clamped;
  double slope;
  double gain;
  double limit;
};
static_assert(sizeof(BiasActGradParams) == 48);

}  // namespace figment
