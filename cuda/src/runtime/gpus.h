// The GPUs of this machine, and why there is none.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/kernel.h"

namespace figment::cuda {

struct Gpu {
  int ordinal = 0;  ///< as the driver numbers them
  std::string name;
  int major = 0, minor = 0;
  int multiprocessors = 0;
  uint64_t memoryBytes = 0;
  uint64_t l2Bytes = 0;
  size_t sharedPerBlock = 0;
  Isa isa = Isa::sm75;
};

/// Those that the plug-in's kernels can run on, in the driver's order; found once.
const std::vector<Gpu>& gpus();
/// Empty when there is one that can be used; else what keeps them from it.
const std::string& whyNoGpu();

}  // namespace figment::cuda
