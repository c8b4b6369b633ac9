// Memory that transfers pass through: pinned on the host, which the GPU reads and writes by itself,
// and on the GPU a place beside the tensors, whose memory may not be touched before its turn on the
// stream. A block is handed out again when what was queued with it is done. Thread-safe.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <unordered_map>

#include "runtime/allocator.h"

namespace figment::cuda {

class StagingPool {
 public:
  /// Holds at most `limit` bytes.
  StagingPool(const MemorySource& source, uint64_t limit) : source_(source), limit_(limit) {}

  /// A block of at least so many bytes; null when the pool is full or the system refuses. On the
  /// calling thread's device.
  void* allocate(uint64_t bytes);
  /// Whether it is the beginning of a block that is handed out.
  bool holds(const void* memory);
  /// Keeps the block until all that is on the stream now is done.
  void keepUntil(void* block, cudaStream_t stream);
  /// What was queued with it may still be under way.
  void release(void* block);
  /// Returns the blocks that are not handed out to the system. The device is idle.
  void trim();

 private:
  struct Block {
    uint64_t bytes;
    cudaEvent_t idle;
    bool taken;
  };

  void* make(uint64_t bytes);

  const MemorySource source_;
  const uint64_t limit_;
  std::mutex mutex_;
  uint64_t total_ = 0;
  std::unordered_map<const void*, Block> blocks_;
  std::map<uint64_t, std::deque<void*>> free_;  // by size, in the order of release
};

}  // namespace figment::cuda
