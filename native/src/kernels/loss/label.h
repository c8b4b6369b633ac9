// The label check that every variant of crossEntropy shares.
#pragma once

#include <string>

#include "../kernel.h"

namespace figment {

/// Reports the first label outside [0, cols); true when all are inside. Runs before any logit is
/// read, so that kernels may index by label.
bool labelsInRange(const int32_t* labels, int64_t rows, int64_t cols, Context& context);

}  // namespace figment
