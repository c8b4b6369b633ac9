// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct RmspropParams {
  static constexpr uint64_t kHash = 0xbb9f90d485cb7fabull;
  int32_t count;
  int32_t centered;
  int32_t buffered;
  double alpha;
  double eps;
  double momentum;
  double weightDecay;
};
static_assert(sizeof(RmspropParams) == 48);

}  // namespace figment
