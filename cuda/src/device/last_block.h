// The block of a grid that comes last, for what must wait until all blocks have done their part: to
// sum their partial results in a fixed order, or to write over what they have read. It counts in
// one word of each source file, which every grid leaves at zero; launches of a device run one after
// another, so that grids of one file never meet there.
#pragma once

#include "platform.h"

namespace figment::cuda {

#ifdef FIGMENT_KERNELS

#ifdef __CUDACC__
static __device__ uint32_t blocksThatCame;
#endif

/// For all threads of all blocks of a one-dimensional grid: true in the last block to come here,
/// which sees what the others wrote before they did.
FIGMENT_DEVICE bool isLastBlock() {
#ifdef __CUDACC__
  __threadfence();
  __syncthreads();
  bool last = false;
  if (threadInBlock() == 0) last = atomicInc(&blocksThatCame, gridDim.x - 1) == gridDim.x - 1;
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
