// Division by a number that the host knows, as a multiplication: q = (umulhi(n, m) + n) >> s with
// s = ceil(log2 d), m = floor(2^32 (2^s - d) / d) + 1 (T. Granlund and P. Montgomery, PLDI 1994).
#pragma once

#include "platform.h"

namespace figment::cuda {

struct Divisor {
  uint32_t divisor = 1, multiplier = 1, shift = 0;

  Divisor() = default;
  /// 1 <= divisor < 2^31.
  explicit Divisor(uint32_t by) : divisor(by) {
    while ((uint64_t(1) << shift) < by) shift++;
    multiplier = uint32_t(((uint64_t(1) << 32) * ((uint64_t(1) << shift) - by)) / by + 1);
  }

#ifdef FIGMENT_KERNELS
  /// n / divisor for n < 2^31.
  FIGMENT_DEVICE uint32_t quotient(uint32_t n) const {
    return (__umulhi(n, multiplier) + n) >> shift;
  }
#endif
};

}  // namespace figment::cuda
