// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct AdamParams {
  static constexpr uint64_t kHash = 0xb33a4ff6798af391ull;
  int32_t count;
  int32_t decoupled;
  double beta1;
  double beta2;
  double eps;
  double weightDecay;
};
static_assert(sizeof(AdamParams) == 40);

}  // namespace figment
