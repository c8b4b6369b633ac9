// 16-bit floats as bits, to and from f32. The hardware's instructions are written out, because
// nvcc's headers of these formats are longer than most kernels, and it parses headers three times
// for each file; number.h has their emulated twins.
#pragma once

#include "platform.h"

namespace figment::cuda {

FIGMENT_DEVICE float widenHalf(uint16_t bits) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
}
FIGMENT_DEVICE uint16_t narrowHalf(float x) {
  uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}
/// Of what is no NaN.
FIGMENT_DEVICE uint16_t narrowBfloat(float x) {
#if __CUDA_ARCH__ >= 800
  uint16_t bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
#else
  const uint32_t bits = __float_as_uint(x);
  return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
#endif
}

}  // namespace figment::cuda
