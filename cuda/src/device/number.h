// 16-bit floats as they are stored, and what kernels compute in. Rounding is to nearest even with
// denormals kept, and gives one NaN, as on the CPU.
#pragma once

#include <bit>

#ifdef __CUDACC__
// In place of <cuda_bf16.h> and <cuda_fp16.h>, of which little is needed.
#include "half_bits.h"
#endif

#include "kernels/simd/half.h"
#include "platform.h"

namespace figment::cuda {

struct Bf16 {
  uint16_t bits;
};
struct F16 {
  uint16_t bits;
};

FIGMENT_DEVICE float bitsToFloat(uint32_t bits) {
#ifdef __CUDACC__
  return __uint_as_float(bits);
#else
  return fromBits(bits);
#endif
}
FIGMENT_DEVICE uint32_t floatToBits(float x) {
#ifdef __CUDACC__
  return __float_as_uint(x);
#else
  return toBits(x);
#endif
}

FIGMENT_DEVICE double bitsToDouble(uint64_t bits) {
#ifdef __CUDACC__
  return __longlong_as_double(int64_t(bits));
#else
  return std::bit_cast<double>(bits);
#endif
}
FIGMENT_DEVICE uint64_t doubleToBits(double x) {
#ifdef __CUDACC__
  return uint64_t(__double_as_longlong(x));
#else
  return std::bit_cast<uint64_t>(x);
#endif
}

FIGMENT_DEVICE float widen(Bf16 x) { return bitsToFloat(uint32_t(x.bits) << 16); }
FIGMENT_DEVICE float widen(F16 x) {
#ifdef __CUDACC__
  return widenHalf(x.bits);
#else
  return fromBits(widenF16(x.bits));
#endif
}
FIGMENT_DEVICE float widen(float x) { return x; }
FIGMENT_DEVICE double widen(double x) { return x; }

/// What is stored of a number computed in f32 (f64 for double).
template <class T>
FIGMENT_DEVICE T narrow(float x);
template <>
FIGMENT_DEVICE float narrow<float>(float x) {
  return x;
}
template <>
FIGMENT_DEVICE Bf16 narrow<Bf16>(float x) {
#ifdef __CUDACC__
  return {x != x ? kNanBf16 : narrowBfloat(x)};
#else
  return {narrowBf16(toBits(x))};
#endif
}
template <>
FIGMENT_DEVICE F16 narrow<F16>(float x) {
#ifdef __CUDACC__
  return {x != x ? kNanF16 : narrowHalf(x)};
#else
  return {narrowF16(toBits(x))};
#endif
}
template <class T>
FIGMENT_DEVICE double narrow(double x) {
  static_assert(sizeof(T) == sizeof(double));
  return x;
}

/// What sums over elements of T are kept in.
template <class T>
struct WideOf {
  using Type = float;
};
template <>
struct WideOf<double> {
  using Type = double;
};
template <class T>
using Wide = typename WideOf<T>::Type;

}  // namespace figment::cuda
