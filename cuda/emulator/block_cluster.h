// The blocks of a cluster (one, where a launch has no clusters), run to their end: they take turns,
// so that all are there at once. Clusters run one after the other in the same object.
#pragma once

#include <memory>
#include <vector>

#include "block.h"

namespace figment::cuda::emulator {

class BlockCluster {
 public:
  /// As on every device that has clusters.
  static constexpr uint32_t kMaxBlocks = 8;

  /// Runs `blocks` blocks side by side, of which `first` is the first; throws Error when a check
  /// fails.
  void run(dim3 grid, dim3 first, uint32_t blocks, uint32_t threads, size_t dynamicBytes,
           const char* name, const std::function<void()>& kernel);

  int size() const { return int(size_); }
  Block& block(int rank) { return *blocks_[size_t(rank)]; }
  /// Whether all blocks have passed a barrier of the cluster, so that all have begun.
  bool met() const { return met_; }
  /// Called by the running thread, of this block: all threads of all blocks must come to the same
  /// place of the source.
  void wait(Block& block, const std::source_location& place);

 private:
  /// What is wrong, when there is no more to do or all wait; empty when nothing is.
  std::string runBlocks();
  std::string stuck() const;

  std::vector<std::unique_ptr<Block>> blocks_;
  size_t size_ = 0;
  uint32_t threads_ = 0;  ///< of all blocks
  uint32_t waiting_ = 0;
  bool met_ = false;
  std::source_location place_;  ///< where those that wait do
};

}  // namespace figment::cuda::emulator
