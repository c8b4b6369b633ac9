// The check of timesteps that every variant of addNoise begins with.
#pragma once

#include "../../runtime/launcher.h"

namespace figment::cuda {

/// Reports the first of a call's timesteps that is outside the tables. Kernels that follow must not
/// take one for an address unchecked: they run before the host knows.
void checkTimesteps(const OpCall& call, Launcher& launcher);

}  // namespace figment::cuda
