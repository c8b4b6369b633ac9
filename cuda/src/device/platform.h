// What a kernel file is compiled as: device code by nvcc, or (FIGMENT_EMULATED) ordinary C++ that
// the emulator runs on the CPU, one fibre for each thread. Kernels are written in CUDA C++
// (threadIdx, __syncthreads,
// __shfl_xor_sync, …) with three rules, which keep one source true for both:
//
//   - memory is reached through the views of memory.h, never through plain pointers;
//   - what only inline PTX can say stands in instructions.h, with its emulated twin beside it;
//   - a kernel is declared with FIGMENT_KERNEL and started with launch() of launch.h.
#pragma once

#include <cstdint>

#ifdef __CUDACC__

#include <cuda_runtime.h>

/// A kernel that runs with at most this many threads a block.
#define FIGMENT_KERNEL(threads) __global__ void __launch_bounds__(threads)
/// The same, of which at least so many blocks shall fit on one multiprocessor.
#define FIGMENT_KERNEL_OCCUPIED(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
#define FIGMENT_DEVICE __device__ __forceinline__
#define FIGMENT_BOTH __host__ __device__ __forceinline__
/// A parameter that the copy engine reads in place.
#define FIGMENT_GRID_CONSTANT __grid_constant__
/// Before a loop, as a pragma: all of it, or so many turns.
#define FIGMENT_UNROLL _Pragma("unroll")
#define FIGMENT_UNROLL_BY(turns) FIGMENT_PRAGMA(unroll turns)
#define FIGMENT_PRAGMA(text) _Pragma(#text)

#else

#define FIGMENT_KERNEL(threads) void
#define FIGMENT_KERNEL_OCCUPIED(threads, blocks) void
#define FIGMENT_DEVICE inline
#define FIGMENT_BOTH inline
#define FIGMENT_GRID_CONSTANT
#define FIGMENT_UNROLL
#define FIGMENT_UNROLL_BY(turns)

#ifdef FIGMENT_EMULATED
#include "../../emulator/device.h"
#else
#include <vector_functions.h>
#endif

#endif

#if defined(__CUDACC__) || defined(FIGMENT_EMULATED)
/// Set where kernels can be compiled; host code of the plug-in sees declarations only.
#define FIGMENT_KERNELS 1
#endif

namespace figment::cuda {

constexpr int kWarp = 32;
constexpr uint32_t kWholeWarp = 0xffffffffu;

/// Blocks (or pieces) of `size` that cover `count`.
template <class A, class B>
FIGMENT_BOTH constexpr auto ceilDiv(A count, B size) {
  return (count + size - 1) / size;
}

// Of the host too, without <algorithm>, which is half as long as all of CUDA's headers.
template <class T>
FIGMENT_BOTH constexpr T smaller(T a, T b) {
  return b < a ? b : a;
}
template <class T>
FIGMENT_BOTH constexpr T larger(T a, T b) {
  return a < b ? b : a;
}

#ifdef FIGMENT_KERNELS
/// This thread's number among those of its block, whatever the block's shape.
FIGMENT_DEVICE int threadInBlock() {
  return int(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
}
FIGMENT_DEVICE int laneInWarp() { return threadInBlock() % kWarp; }
FIGMENT_DEVICE int warpInBlock() { return threadInBlock() / kWarp; }

/// This thread's number in a one-dimensional grid, and how many there are: for loops that stride
/// over the whole grid.
FIGMENT_DEVICE int64_t threadInGrid() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }
FIGMENT_DEVICE int64_t threadsOfGrid() { return int64_t(gridDim.x) * blockDim.x; }
/// This block's number in a grid of blocksFor().
FIGMENT_DEVICE int64_t blockInGrid() { return int64_t(blockIdx.y) * gridDim.x + blockIdx.x; }

#endif

}  // namespace figment::cuda
