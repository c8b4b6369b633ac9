// The instruction sets of the backend that this is compiled for: those of the CPU in the addon,
// those of NVIDIA GPUs in the CUDA plug-in. The registry knows no more of machines than this.
#pragma once

#include <string>

#include "../kernels/kernel.h"

namespace figment {

/// The widest set that this machine can execute.
Isa bestIsa();
/// Whether variants of this set belong to the backend.
bool belongsHere(Isa isa);

const char* isaName(Isa isa);
/// False when `name` is none of the names that isaName gives.
bool parseIsa(const std::string& name, Isa& isa);

}  // namespace figment
