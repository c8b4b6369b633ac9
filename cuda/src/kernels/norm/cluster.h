// A cluster's blocks as those that share a run (group_run.h), and how calls are cut for them. For
// *.sm90a.cu files only.
#pragma once

#include "../../device/cluster.h"
#include "group_run.h"

namespace figment::cuda {

/// What a kernel's blocks take.
struct ClusterLimits {
  int mostWarps;
  int vectors;                ///< of a thread at least, where there are blocks enough
  int64_t comfortable;        ///< bytes of shared memory with which several share a multiprocessor
  int64_t narrow;             ///< most with runs that move memory in part sectors
  int vectorBytes;            ///< of shared memory for each vector
  int (*floats)(const Run&);  ///< beside the vectors
};

/// How a call is cut; `ranks` is 0 where shared memory does not hold it.
struct ClusterPlan {
  Run run;
  int vector;
  int ranks = 0;  ///< blocks of a task
  int64_t sharedBytes = 0;

  ClusterPlan(const NormShape& shape, Format x, const ClusterLimits& limits)
      : vector(runVector(x, shape.c)) {
    constexpr int kMostRanks = kMostClusterBlocks;
    /// What one block may have of a multiprocessor.
    constexpr int64_t kBudget = 226 * 1024;
    /// Vectors of a thread that a block should have at least.
    constexpr int kFewVectors = 4;
    if (vector == 0 || vector * formatBytes(x) != 16) return;
    eachRun(shape, x, vector, [&](Run next) {
      // Where memory moves in part sectors, or hides no time, slabs are as fast.
      const int64_t runBytes = next.channels * int64_t(formatBytes(x));
      const bool narrow = runBytes < 64;
      if (runBytes < 32) return false;
      for (int blocks = 1; blocks <= kMostRanks; blocks *= 2) {
        const int64_t all = shape.n * next.ofSample * blocks;
        const int vectors = all < 4 * kBusyBlocks ? kFewVectors : limits.vectors;
        next.pixels = ceilDiv(shape.spatial, int64_t(blocks));
        next.warps = 1;
        while (next.warps < limits.mostWarps && vectors * next.down() < next.pixels)
          next.warps *= 2;
        const int64_t bytes =
            next.pixels * next.across * limits.vectorBytes + limits.floats(next) * int64_t{4};
        const int64_t most = narrow                ? limits.narrow
                             : blocks < kMostRanks ? limits.comfortable
                                                   : kBudget;
        if (bytes > most || next.pixels * (blocks - 1) >= shape.spatial) continue;
        if (blocks < kMostRanks && all < kBusyBlocks && next.warps == limits.mostWarps) continue;
        // Narrow runs that all of a GPU works on rather than wide ones for a part of it.
        if (ranks > 0 && all < kBusyBlocks) return true;
        run = next;
        ranks = blocks;
        sharedBytes = bytes;
        return true;
      }
      return false;
    });
  }

  Grid grid(const NormShape& shape) const { return {.x = shape.n * run.ofSample * ranks}; }
};

/// Calls start.operator()<N>() for a plan's vectors of N elements.
template <class Start>
void withPlan(const ClusterPlan& plan, Start&& start) {
  if (plan.vector == 8)
    start.template operator()<8>();
  else
    start.template operator()<4>();
}

}  // namespace figment::cuda
