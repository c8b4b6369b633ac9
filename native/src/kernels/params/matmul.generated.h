// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct MatmulParams {
  static constexpr uint64_t kHash = 0x6f37efebb5ebcd70ull;
  int64_t batch;
  int64_t m;
  int64_t n;
  int64_t k;
  int64_t batchStrideA;
  int64_t batchStrideB;
  int32_t transA;
  int32_t transB;
  int32_t bias;
  int32_t activation;
};
static_assert(sizeof(MatmulParams) == 64);

}  // namespace figment
