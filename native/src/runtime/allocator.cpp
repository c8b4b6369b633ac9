// Size classes: requests up to 512 bytes round to 64; above that, each octave has eight steps, so
// at most an eighth of a block is unused.
#include "allocator.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <new>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace figment {
namespace {

constexpr uint64_t kSmallestOctave = 512;
/// Nothing larger is ever asked of the system (16 TiB); keeps all sums far from overflow.
constexpr uint64_t kLargestRequest = uint64_t(1) << 44;

void* hostAllocate(uint64_t bytes) {
  void* block = nullptr;
  const size_t alignment = bytes >= kHugePage ? size_t(kHugePage) : CachingAllocator::kAlignment;
  if (posix_memalign(&block, alignment, size_t(bytes)) != 0) return nullptr;
  preferHugePages(block, bytes);
  return block;
}

}  // namespace

void preferHugePages([[maybe_unused]] void* block, [[maybe_unused]] uint64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  const uintptr_t begin = reinterpret_cast<uintptr_t>(block), end = begin + bytes;
  const uintptr_t first = (begin + kHugePage - 1) / kHugePage * kHugePage;
  if (first + kHugePage > end) return;
  madvise(reinterpret_cast<void*>(first), size_t(end - first), MADV_HUGEPAGE);
#endif
}

const MemorySource kHostMemory = {hostAllocate, std::free};

int CachingAllocator::classOf(uint64_t bytes, uint64_t* blockBytes) {
  if (bytes <= kSmallestOctave) {
    const uint64_t steps = bytes == 0 ? 1 : (bytes + 63) / 64;
    *blockBytes = steps * 64;
    return int(steps) - 1;
  }
  // bytes lies in (2^k, 2^(k+1)], k >= 9; the step is 2^k / 8.
  const int k = std::bit_width(bytes - 1) - 1;
  const uint64_t base = uint64_t(1) << k, step = base / kStepsPerOctave;
  const uint64_t steps = (bytes - base + step - 1) / step;
  *blockBytes = base + steps * step;
  return (k - 8) * kStepsPerOctave + int(steps) - 1;
}

uint64_t CachingAllocator::blockBytes(uint64_t bytes) {
  if (bytes == 0) return 0;
  uint64_t block;
  classOf(bytes, &block);
  return block;
}

uint64_t CachingAllocator::unusedClaim() const {
  const uint64_t claimed = claimed_.load(std::memory_order_relaxed);
  return claimed > workspace_ ? claimed - workspace_ : 0;
}

bool CachingAllocator::fits(uint64_t bytes) const {
  return counters_.limit == 0 || counters_.inUse + counters_.cached + bytes <= counters_.limit;
}

bool CachingAllocator::claimWorkspace(uint64_t bytes) {
  if (bytes <= claimed_.load(std::memory_order_relaxed)) return true;
  if (bytes > kLargestRequest) return false;
  std::lock_guard lock(mutex_);
  const uint64_t more = bytes > workspace_ ? bytes - workspace_ : 0;
  if (!fits(more)) trimLocked();
  if (!fits(more)) return false;
  claimed_.store(std::max(bytes, claimed_.load(std::memory_order_relaxed)),
                 std::memory_order_relaxed);
  return true;
}

void CachingAllocator::withdrawClaims() {
  std::lock_guard lock(mutex_);
  claimed_.store(0, std::memory_order_relaxed);
}

void* CachingAllocator::allocate(uint64_t bytes, bool workspace) {
  if (bytes > kLargestRequest) return nullptr;
  uint64_t block;
  const int index = classOf(bytes, &block);
  std::lock_guard lock(mutex_);
  const auto handOut = [&](void* memory) {
    counters_.inUse += block;
    counters_.peak = std::max(counters_.peak, counters_.inUse);
    if (workspace) workspace_ += block;
    return memory;
  };
  // A block that is kept for reuse counts as held already.
  const uint64_t claim = workspace ? 0 : unusedClaim();
  if (std::vector<void*>& kept = free_[index]; !kept.empty() && fits(claim)) {
    void* found = kept.back();
    kept.pop_back();
    counters_.cached -= block;
    return handOut(found);
  }
  if (!fits(block + claim)) trimLocked();
  if (!fits(block + claim)) return nullptr;
  void* memory = source_.allocate(block);
  if (!memory) {
    trimLocked();
    memory = source_.allocate(block);
  }
  if (!memory) return nullptr;
  counters_.systemAllocations++;
  return handOut(memory);
}

void CachingAllocator::release(void* block, uint64_t bytes, bool workspace) {
  uint64_t size;
  const int index = classOf(bytes, &size);
  std::lock_guard lock(mutex_);
  counters_.inUse -= size;
  if (workspace) workspace_ -= size;
  try {
    free_[index].push_back(block);
  } catch (const std::bad_alloc&) {
    return source_.release(block);
  }
  counters_.cached += size;
}

void* CachingAllocator::exchange(void* block, uint64_t bytes) {
  uint64_t size;
  std::vector<void*>& kept = free_[classOf(bytes, &size)];
  std::lock_guard lock(mutex_);
  if (!kept.empty()) std::swap(kept.back(), block);
  return block;
}

void CachingAllocator::trim() {
  std::lock_guard lock(mutex_);
  trimLocked();
}

void CachingAllocator::trimLocked() {
  for (std::vector<void*>& kept : free_) {
    for (void* block : kept) source_.release(block);
    kept.clear();
  }
  counters_.cached = 0;
}

void CachingAllocator::setLimit(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  counters_.limit = bytes;
  if (bytes > 0 && counters_.inUse + counters_.cached > bytes) trimLocked();
}

MemoryCounters CachingAllocator::counters() const {
  std::lock_guard lock(mutex_);
  return counters_;
}

}  // namespace figment
