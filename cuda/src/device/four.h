// Four neighbouring floats as one access where their address allows it.
#pragma once

#include "kernels/kernel.h"
#include "memory.h"

namespace figment::cuda {

/// Whether fours of an operand's elements are aligned to 16 bytes.
inline bool startsAligned(const Operand& operand) {
  return reinterpret_cast<uintptr_t>(operand.data) % 16 == 0;
}

#ifdef FIGMENT_KERNELS

template <bool kAligned>
FIGMENT_DEVICE float4 loadFour(const Global<const float>& x, int64_t i) {
  if constexpr (kAligned)
    return x.load<float4>(i);
  else
    return make_float4(x[i], x[i + 1], x[i + 2], x[i + 3]);
}
template <bool kAligned>
FIGMENT_DEVICE void storeFour(const Global<float>& x, int64_t i, const float4& value) {
  if constexpr (kAligned) {
    x.store<float4>(i, value);
  } else {
    x[i] = value.x;
    x[i + 1] = value.y;
    x[i + 2] = value.z;
    x[i + 3] = value.w;
  }
}

#endif

}  // namespace figment::cuda
