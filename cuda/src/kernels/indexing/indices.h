// The check of indices that gather, scatterAdd, takeAlong and scatterAddAlong begin with.
#pragma once

#include "../../runtime/launcher.h"

namespace figment::cuda {

/// Reports the first of `count` indices (operand 1) that is outside [0, axis). Kernels that follow
/// must not take one for an address unchecked: they run before the host knows.
void checkIndices(const OpCall& call, Launcher& launcher, int64_t count, int64_t axis);

}  // namespace figment::cuda
