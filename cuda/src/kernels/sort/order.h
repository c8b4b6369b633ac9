// The order of sort.
#pragma once

#include "../../device/platform.h"

namespace figment::cuda {

#ifdef FIGMENT_KERNELS

/// Whether a comes before b, leaving positions aside; NaN comes last either way.
template <class T>
FIGMENT_DEVICE bool before(T a, T b, bool descending) {
  if (a != a || b != b) return a == a && b != b;
  return descending ? a > b : a < b;
}

#endif

}  // namespace figment::cuda
