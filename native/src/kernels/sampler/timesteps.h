// The timestep check that every variant of addNoise shares.
#pragma once

#include "../kernel.h"

namespace figment {

/// Reports the first timestep outside [0, steps); true when all are inside. Runs before any table
/// is read, so that kernels may index by timestep.
bool timestepsInRange(const int32_t* timesteps, int64_t n, int64_t steps, Context& context);

}  // namespace figment
