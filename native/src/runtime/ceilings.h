// What this machine can do at best: f32 multiply-add rate per instruction set and copy bandwidth
// per footprint. Measured on request; profiles and benchmarks are held against it.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace figment {

struct Ceilings {
  int threads;
  std::vector<std::pair<const char*, double>> fma;  ///< instruction set, GFLOP/s
  std::vector<std::pair<size_t, double>> copy;      ///< bytes of source and target together, GB/s
};

/// Takes about a second and up to 256 MiB. Starts threads of its own; throws std::bad_alloc.
Ceilings measureCeilings(int threads);

}  // namespace figment
