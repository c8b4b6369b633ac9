// The block of a grid that comes last, for what must wait until all blocks have done their part: to
// sum their partial results in a fixed order, or to write over what they have read. They count in a
// word that the launcher has for each launch (`arrivals`), because others may run beside it.
#pragma once

#include "platform.h"

namespace figment::cuda {

#ifdef FIGMENT_KERNELS

/// For all threads of all blocks of a one-dimensional grid: true in the last block to come here,
/// which sees what the others wrote before they did.
FIGMENT_DEVICE bool isLastBlock([[maybe_unused]] uint32_t* arrivals) {
#ifdef __CUDACC__
  __threadfence();
  __syncthreads();
  bool last = false;
  if (threadInBlock() == 0) last = atomicInc(arrivals, gridDim.x - 1) == gridDim.x - 1;
  last = __syncthreads_or(last) != 0;
  __threadfence();
  return last;
#else
  __syncthreads();
  return blockIdx.x + 1 == gridDim.x;  // the emulator runs them in order
#endif
}

#endif

}  // namespace figment::cuda
