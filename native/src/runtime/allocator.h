// The caching allocator of a device. Blocks come in size classes (powers of two divided in eight
// steps) and are kept for reuse when released, so that a steady program makes no system allocation.
// Thread-safe. It never touches the blocks, which the host may not be able to read.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace figment {

struct MemoryCounters {
  uint64_t inUse = 0;   ///< bytes of blocks handed out
  uint64_t cached = 0;  ///< bytes kept for reuse
  uint64_t peak = 0;    ///< largest inUse so far
  uint64_t systemAllocations = 0;
  uint64_t limit = 0;  ///< 0: none
};

/// Where blocks come from.
struct MemorySource {
  void* (*allocate)(uint64_t bytes);  ///< null when there is no more
  void (*release)(void* block);
};
/// The size of a huge page. In small ones there are more page faults and TLB misses, and what fits
/// the second-level cache may displace itself there, since it lies wherever their addresses are.
constexpr uint64_t kHugePage = uint64_t(2) << 20;
/// Asks the system for huge pages where a block that nobody has touched yet fills any.
void preferHugePages(void* block, uint64_t bytes);

/// The host's memory, in huge pages where blocks are large.
extern const MemorySource kHostMemory;

class CachingAllocator {
 public:
  /// Every block of host memory is aligned to this: a cache line, and the widest vector.
  static constexpr size_t kAlignment = 64;

  explicit CachingAllocator(const MemorySource& source = kHostMemory) : source_(source) {}

  /// A block of at least `bytes`, or null when the limit or the system refuses, even after the
  /// cache has been given back. Contents undefined. Leaves the room that is claimed.
  void* allocate(uint64_t bytes) { return allocate(bytes, false); }
  /// `bytes` is what allocate was asked for.
  void release(void* block, uint64_t bytes) { release(block, bytes, false); }

  /// For a block that nobody has used yet, one of its size that was released since, which may still
  /// be in the caches; else the block itself.
  void* exchange(void* block, uint64_t bytes);

  /// Memory of the executor between records. It may use the room that was claimed for it.
  void* allocateWorkspace(uint64_t bytes) { return allocate(bytes, true); }
  void releaseWorkspace(void* block, uint64_t bytes) { release(block, bytes, true); }
  /// Keeps room for this much workspace, in all, until claims are withdrawn: programs that wait in
  /// the queue must find their temporaries. False when there is none, whatever the cache gives
  /// back.
  bool claimWorkspace(uint64_t bytes);
  void withdrawClaims();
  /// Returns all cached blocks to the system.
  void trim();

  void setLimit(uint64_t bytes);
  MemoryCounters counters() const;

  /// Bytes of the block that serves a request; none for nothing.
  static uint64_t blockBytes(uint64_t bytes);

 private:
  static constexpr int kStepsPerOctave = 8;
  static constexpr int kClasses = 48 * kStepsPerOctave;

  static int classOf(uint64_t bytes, uint64_t* blockBytes);
  void* allocate(uint64_t bytes, bool workspace);
  void release(void* block, uint64_t bytes, bool workspace);
  bool fits(uint64_t bytes) const;
  uint64_t unusedClaim() const;
  void trimLocked();

  const MemorySource source_;
  mutable std::mutex mutex_;
  std::vector<void*> free_[kClasses];
  MemoryCounters counters_;
  uint64_t workspace_ = 0;            // bytes of blocks that are workspace
  std::atomic<uint64_t> claimed_{0};  // written under the mutex
};

}  // namespace figment
