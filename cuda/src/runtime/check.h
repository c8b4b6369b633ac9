// CUDA's status codes as exceptions.
#pragma once

#include <cuda_runtime.h>

#include "runtime/error.h"

namespace figment::cuda {

/// Throws Error(ERR_FIGMENT_DEVICE), or ERR_FIGMENT_OUT_OF_MEMORY, naming what was being done.
inline void check(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return;
  const bool memory = status == cudaErrorMemoryAllocation;
  throw Error(memory ? code::kOutOfMemory : code::kDevice, std::string(doing) + ": " +
                                                               cudaGetErrorString(status) + " (" +
                                                               cudaGetErrorName(status) + ")");
}

}  // namespace figment::cuda
