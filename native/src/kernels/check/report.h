// What the kernels of checkFinite share: how a number that is not finite is told.
#pragma once

#include "../kernel.h"

namespace figment {

/// The bits that are all ones in NaN and in the infinities, and in no other number.
FIGMENT_ALWAYS_INLINE constexpr uint64_t exponentBits(Format format) {
  switch (format) {
    case Format::f64:
      return 0x7ff0000000000000;
    case Format::bf16:
      return 0x7f80;
    case Format::f16:
      return 0x7c00;
    default:
      return 0x7f800000;
  }
}

constexpr const char* kNonFinite = "ERR_FIGMENT_NONFINITE";

/// Says that element `at` of input `tensor`, named by the call's tail, is `what`.
std::string notFiniteText(const OpCall& call, int tensor, int64_t at, const char* what);

/// Fails the run for the first element of [first, first + elements) of input `tensor` that is not
/// finite; does nothing when there is none.
void reportFirst(const OpCall& call, Context& context, int tensor, int64_t first, int64_t elements);

}  // namespace figment
