// A cluster's blocks as those that share a run (group_run.h). For *.sm90a.cu files only.
#pragma once

#include <cooperative_groups.h>

#include "../../device/memory.h"

namespace figment::cuda {

template <int ranks>
struct Cluster {
  static constexpr int kRanks = ranks;
  FIGMENT_DEVICE static int rank() { return int(cooperative_groups::this_cluster().block_rank()); }
  FIGMENT_DEVICE static void sync() { cooperative_groups::this_cluster().sync(); }
  FIGMENT_DEVICE static float read(const Shared<float>& from, int i, int of) {
    return *cooperative_groups::this_cluster().map_shared_rank(from.pointer(i), unsigned(of));
  }
};

}  // namespace figment::cuda
