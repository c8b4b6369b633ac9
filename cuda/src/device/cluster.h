// Clusters of neighbouring blocks, which run at once and read each other's shared memory. Include
// from *.sm90a.cu files only.
#pragma once

#include "launch.h"
#include "memory.h"

#ifdef FIGMENT_EMULATED
#include "../../emulator/cluster.h"
#endif

namespace figment::cuda {

/// Most blocks of a cluster.
constexpr int kMostClusterBlocks = 8;

#ifdef __CUDACC__

// By what <cooperative_groups.h> stands on, which takes a compiler longer to read than a kernel.
struct Cluster {
  FIGMENT_DEVICE static int ranks() { return int(__clusterSizeInBlocks()); }
  /// This block's number in its cluster.
  FIGMENT_DEVICE static int rank() { return int(__clusterRelativeBlockRank()); }
  /// A barrier of all threads of all blocks. One must come before the first read() of another
  /// block's memory, and one after the last, before that block ends.
  FIGMENT_DEVICE static void sync() {
    arrive();
    wait();
  }
  /// The same in two steps, between which a thread reads no other block's memory.
  FIGMENT_DEVICE static void arrive() { __cluster_barrier_arrive(); }
  FIGMENT_DEVICE static void wait() { __cluster_barrier_wait(); }
  /// The element that block `of` has where this one has from[i].
  template <class T>
  FIGMENT_DEVICE static T read(const Shared<T>& from, int i, int of) {
    return *static_cast<T*>(__cluster_map_shared_rank(from.pointer(i), unsigned(of)));
  }
};

#endif

/// As launch(), in clusters of so many neighbouring blocks.
template <auto kernel, class... Arguments>
void launchClusters(Launcher& launcher, Grid grid, int blocks, int threads, size_t sharedBytes,
                    const Arguments&... arguments) {
  if (!prepareLaunch<kernel>(launcher, grid, sharedBytes)) return;
#ifdef __CUDACC__
  cudaLaunchAttribute clusters = {};
  clusters.id = cudaLaunchAttributeClusterDimension;
  clusters.val.clusterDim.x = unsigned(blocks);
  clusters.val.clusterDim.y = clusters.val.clusterDim.z = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(unsigned(grid.x), unsigned(grid.y), unsigned(grid.z));
  config.blockDim = dim3(unsigned(threads));
  config.dynamicSmemBytes = sharedBytes;
  config.stream = static_cast<cudaStream_t>(launcher.stream());
  config.attrs = &clusters;
  config.numAttrs = 1;
  cudaLaunchKernelEx(&config, kernel, arguments...);
  launcher.checkLaunch();
#else
  emulate<kernel>(launcher, grid, blocks, threads, sharedBytes, arguments...);
#endif
}

}  // namespace figment::cuda
