#include "staging.h"

#include <algorithm>
#include <bit>

#include "check.h"

namespace figment::cuda {
namespace {

/// A page: smaller blocks would cost the system as much.
constexpr uint64_t kSmallestBlock = 4096;

}  // namespace

void* StagingPool::allocate(uint64_t bytes) {
  if (bytes > limit_) return nullptr;
  const uint64_t size = std::bit_ceil(std::max(bytes, kSmallestBlock));
  std::lock_guard lock(mutex_);
  std::deque<void*>& free = free_[size];
  // The first has waited longest: where it is not idle yet, the others are hardly.
  if (!free.empty()) {
    Block& block = blocks_.at(free.front());
    const cudaError_t status = cudaEventQuery(block.idle);
    if (status == cudaSuccess) {
      void* const found = free.front();
      free.pop_front();
      block.taken = true;
      return found;
    }
    cudaGetLastError();  // an answer, which must not reach the next launch as a failure
    if (status != cudaErrorNotReady) check(status, "asking for staging memory");
  }
  return make(size);
}

void* StagingPool::make(uint64_t bytes) {
  if (bytes > limit_ - total_) return nullptr;
  void* const memory = source_.allocate(bytes);
  if (!memory) return nullptr;
  Block block = {bytes, nullptr, true};
  const cudaError_t status = cudaEventCreateWithFlags(&block.idle, cudaEventDisableTiming);
  if (status != cudaSuccess) source_.release(memory);
  check(status, "creating an event");
  blocks_.emplace(memory, block);
  total_ += bytes;
  return memory;
}

bool StagingPool::holds(const void* memory) {
  std::lock_guard lock(mutex_);
  const auto found = blocks_.find(memory);
  return found != blocks_.end() && found->second.taken;
}

void StagingPool::keepUntil(void* block, cudaStream_t stream) {
  std::lock_guard lock(mutex_);
  check(cudaEventRecord(blocks_.at(block).idle, stream), "recording an event");
}

void StagingPool::release(void* memory) {
  std::lock_guard lock(mutex_);
  Block& block = blocks_.at(memory);
  block.taken = false;
  free_[block.bytes].push_back(memory);
}

void StagingPool::trim() {
  std::lock_guard lock(mutex_);
  for (const auto& [bytes, free] : free_) {
    for (void* memory : free) {
      cudaEventDestroy(blocks_.at(memory).idle);
      blocks_.erase(memory);
      source_.release(memory);
      total_ -= bytes;
    }
  }
  free_.clear();
}

}  // namespace figment::cuda
