// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

struct ResizeBilinearParams {
  static constexpr uint64_t kHash = 0x66ec66e5fee7798aull;
  int32_t n;
  int32_t h;
  int32_t w;
  int32_t c;
  int32_t ho;
  int32_t wo;
  int32_t alignCorners;
  uint8_t padding_[4];
};
static_assert(sizeof(ResizeBilinearParams) == 32);

}  // namespace figment
