// Division of numbers below 2³¹ by one that the host knows: a multiplication and a shift, after
// Granlund and Montgomery, "Division by Invariant Integers using Multiplication" (1994).
#pragma once

#include <bit>

#include "../../device/platform.h"

namespace figment::cuda {

class Divisor {
 public:
  Divisor() = default;
  /// `by` of at least 1 and below 2³¹.
  explicit Divisor(int64_t by) : by_(uint32_t(by)) {
    if (by_ <= 1) return;
    const int bits = std::bit_width(by_ - 1);
    magic_ = uint32_t(((uint64_t(1) << (31 + bits)) + by_ - 1) / by_);
    shift_ = uint32_t(bits - 1);
  }
  FIGMENT_DEVICE uint32_t quotient(uint32_t n) const {
    return by_ <= 1 ? n : upperHalf(n, magic_) >> shift_;
  }
  FIGMENT_DEVICE uint32_t rest(uint32_t n, uint32_t quotient) const { return n - quotient * by_; }

 private:
  /// Of the product. Its words are CUDA's where kernels are compiled, which host code that includes
  /// this is not.
  FIGMENT_DEVICE static uint32_t upperHalf(uint32_t a, uint32_t b) {
#ifdef FIGMENT_KERNELS
    return __umulhi(a, b);
#else
    return uint32_t(uint64_t(a) * b >> 32);
#endif
  }

  uint32_t by_ = 1, magic_ = 0, shift_ = 0;
};

}  // namespace figment::cuda
