// When to write results past the caches. What is so large has displaced its own beginning before
// anybody reads it, and a line that is written as a whole need not be read first.
#pragma once

#include "vec.h"

namespace figment::FIGMENT_ISA {

/// Results of fewer bytes stay in the caches, where the next operation finds them.
constexpr int64_t kStreamedBytes = int64_t(8) << 20;
/// Nor are they written past them by operations that read and write no more than this in all.
constexpr int64_t kStreamedTraffic = 4 * kStreamedBytes;

/// Whether to write `bytes` from `out` on by stream(), in whole vectors from a multiple of kLanes.
inline bool worthStreaming(const float* out, int64_t bytes) {
  constexpr uintptr_t kLine = 64;
  return bytes >= kStreamedBytes && reinterpret_cast<uintptr_t>(out) % kLine == 0;
}

template <bool kStream>
FIGMENT_INLINE void storeOrStream(F32 a, float* p) {
  if constexpr (kStream)
    a.stream(p);
  else
    a.store(p);
}

}  // namespace figment::FIGMENT_ISA
