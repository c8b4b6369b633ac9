// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct SgdParams {
  static constexpr uint64_t kHash = 0xff05b38d77f4c724ull;
  int32_t count;
  int32_t buffered;
  int32_t nesterov;
  double momentum;
  double weightDecay;
};
static_assert(sizeof(SgdParams) == 32);

}  // namespace figment
