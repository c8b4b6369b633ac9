// CUDA's device language on the CPU: the built-in variables, barriers, warp operations and
// arithmetic that kernels use, for the thread (a fibre) that is running. block.h runs them.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <source_location>
#include <string>
#include <type_traits>

struct dim3 {
  uint32_t x = 1, y = 1, z = 1;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
inline double2 make_double2(double x, double y) { return {x, y}; }

namespace figment::cuda::emulator {

/// The built-in variables of the running thread.
struct ThreadVariables {
  dim3 thread, block, blockSize, gridSize;
};
extern thread_local const ThreadVariables* running;

/// Runs a kernel once for each thread of the grid, of clusters of so many neighbouring blocks.
/// Throws Error(ERR_FIGMENT_DEVICE) with the kernel's name, the block and the threads when a check
/// fails.
void runGrid(dim3 grid, uint32_t cluster, uint32_t threads, size_t sharedBytes, const char* name,
             const std::function<void()>& kernel);

/// Ends the launch with this message. Never returns to the kernel.
[[noreturn]] void refuse(const std::string& message);
[[noreturn]] void refuseGlobal(int64_t index, int64_t elements, int64_t count, size_t size);
[[noreturn]] void refuseAlignment(size_t bytes);

/// Waits for all threads of the block. All must wait at the same place of the source, and a thread
/// that returns while others wait is an error. `voteKind`: −1 none, 0 or, 1 and, 2 count.
int blockBarrier(int voteKind, bool vote, const std::source_location& place);
/// Waits until every lane in the mask that has not returned has come to an operation of the same
/// kind, then performs `action(lanes, members)` once for all of them, where lanes[i] is what lane i
/// brought.
using WarpAction = void (*)(void* const* lanes, uint32_t mask);
void warpOperation(uint32_t mask, const char* kind, WarpAction action, void* mine);

template <class T>
struct Shuffle {
  T value;
  int source;
  T result;
};
template <class T>
T shuffle(uint32_t mask, const char* kind, T value, int source) {
  Shuffle<T> mine{value, source, value};
  warpOperation(
      mask, kind,
      [](void* const* lanes, uint32_t members) {
        for (int lane = 0; lane < 32; lane++) {
          if (!(members >> lane & 1)) continue;
          auto& own = *static_cast<Shuffle<T>*>(lanes[lane]);
          if (own.source < 0) continue;  // out of range: keeps its own
          if (!(members >> own.source & 1))
            refuse("a shuffle of lane " + std::to_string(lane) + " reads from lane " +
                   std::to_string(own.source) + ", which takes no part");
          own.result = static_cast<Shuffle<T>*>(lanes[own.source])->value;
        }
      },
      &mine);
  return mine.result;
}
int lane();

}  // namespace figment::cuda::emulator

#define threadIdx (::figment::cuda::emulator::running->thread)
#define blockIdx (::figment::cuda::emulator::running->block)
#define blockDim (::figment::cuda::emulator::running->blockSize)
#define gridDim (::figment::cuda::emulator::running->gridSize)

inline void __syncthreads(const std::source_location& place = std::source_location::current()) {
  figment::cuda::emulator::blockBarrier(-1, false, place);
}
inline int __syncthreads_or(int vote,
                            const std::source_location& place = std::source_location::current()) {
  return figment::cuda::emulator::blockBarrier(0, vote != 0, place);
}
inline int __syncthreads_and(int vote,
                             const std::source_location& place = std::source_location::current()) {
  return figment::cuda::emulator::blockBarrier(1, vote != 0, place);
}
inline int __syncthreads_count(
    int vote, const std::source_location& place = std::source_location::current()) {
  return figment::cuda::emulator::blockBarrier(2, vote != 0, place);
}
void __syncwarp(uint32_t mask = 0xffffffffu);
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T>
T __shfl_xor_sync(uint32_t mask, T value, int laneMask, int width = 32) {
  // Of lanes past its own group a lane gets its own value.
  const int lane = figment::cuda::emulator::lane(), source = lane ^ laneMask;
  return figment::cuda::emulator::shuffle(mask, "__shfl_xor_sync", value,
                                          source / width <= lane / width ? source : -1);
}
template <class T>
T __shfl_sync(uint32_t mask, T value, int from, int width = 32) {
  const int lane = figment::cuda::emulator::lane();
  return figment::cuda::emulator::shuffle(mask, "__shfl_sync", value,
                                          lane / width * width + (from & (width - 1)));
}
template <class T>
T __shfl_down_sync(uint32_t mask, T value, int delta, int width = 32) {
  const int lane = figment::cuda::emulator::lane(), source = lane + delta;
  return figment::cuda::emulator::shuffle(mask, "__shfl_down_sync", value,
                                          source / width == lane / width ? source : -1);
}
template <class T>
T __shfl_up_sync(uint32_t mask, T value, int delta, int width = 32) {
  const int lane = figment::cuda::emulator::lane(), source = lane - delta;
  return figment::cuda::emulator::shuffle(
      mask, "__shfl_up_sync", value, source >= 0 && source / width == lane / width ? source : -1);
}
uint32_t __ballot_sync(uint32_t mask, int vote);
int __any_sync(uint32_t mask, int vote);
int __all_sync(uint32_t mask, int vote);

// Arithmetic by the names that CUDA gives it.
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline uint32_t __umulhi(uint32_t a, uint32_t b) { return uint32_t(uint64_t(a) * b >> 32); }
inline int __float2int_rn(float x) { return int(std::nearbyint(x)); }
inline uint32_t __float_as_uint(float x) { return std::bit_cast<uint32_t>(x); }
inline float __uint_as_float(uint32_t x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline int __ffs(int x) { return std::countr_zero(uint32_t(x)) % 32 + (x != 0); }
inline int __popc(uint32_t x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(uint32_t(x)); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float a, float b) { return a / b; }
template <class T>
T __ldg(const T* at) {
  return *at;
}
using std::max;
using std::min;
