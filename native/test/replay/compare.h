// How far two pieces of memory are apart.
#pragma once

#include <cstdint>

#include "kernels/kernel.h"

namespace figment::replay {

/// 0 when they hold the same bits (any NaN equals any other); else the largest difference in units
/// of a bound: what a few roundings of the largest element to `rounding` may do, or to its own
/// format where that is coarser; infinite for integers and missing numbers that differ.
double distance(const void* actual, const void* expected, uint64_t bytes, Format format,
                Format rounding);

}  // namespace figment::replay
