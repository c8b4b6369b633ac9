#include "block_cluster.h"

#include "places.h"
#include "runtime/error.h"

namespace figment::cuda::emulator {

void BlockCluster::run(dim3 grid, dim3 first, uint32_t blocks, uint32_t threads,
                       size_t dynamicBytes, const char* name, const std::function<void()>& kernel) {
  if (blocks == 0 || blocks > kMaxBlocks || grid.x % blocks != 0)
    throw Error(code::kDevice, std::string(name) + ": clusters of " + std::to_string(blocks) +
                                   " blocks in a row of " + std::to_string(grid.x) +
                                   "; there may be 1 to 8, which divide the row");
  size_ = blocks;
  threads_ = blocks * threads;
  waiting_ = 0;
  met_ = false;
  while (blocks_.size() < size_) blocks_.push_back(std::make_unique<Block>(*this));
  for (uint32_t rank = 0; rank < blocks; rank++)
    blocks_[rank]->begin(grid, {first.x + rank, first.y, first.z}, int(rank), threads, dynamicBytes,
                         name, kernel);
  const std::string failure = runBlocks();
  for (size_t rank = 0; rank < size_; rank++) blocks_[rank]->end();
  if (!failure.empty()) throw Error(code::kDevice, "emulated kernel of " + failure);
}

std::string BlockCluster::runBlocks() {
  for (;;) {
    bool progress = false, over = true;
    for (size_t rank = 0; rank < size_; rank++) {
      Block& block = *blocks_[rank];
      if (block.over()) continue;
      progress |= block.takeTurns();
      if (!block.failure().empty()) return block.failure();
      over &= block.over();
    }
    if (over) break;
    for (size_t rank = 0; rank < size_ && !progress; rank++) progress = blocks_[rank]->advance();
    if (!progress) return stuck();
  }
  for (size_t rank = 0; rank < size_; rank++)
    if (const std::string left = blocks_[rank]->leftOver(); !left.empty()) return left;
  return "";
}

void BlockCluster::wait(Block& block, const std::source_location& place) {
  if (waiting_ == 0)
    place_ = place;
  else if (!samePlace(place, place_))
    block.fail("divergent barrier of a cluster: waits at " + placeName(place) +
               " while others wait at " + placeName(place_));
  if (++waiting_ < threads_) return block.suspendForCluster();
  waiting_ = 0;
  met_ = true;
  for (size_t rank = 0; rank < size_; rank++) blocks_[rank]->passClusterBarrier();
}

std::string BlockCluster::stuck() const {
  uint32_t returned = 0;
  for (size_t rank = 0; rank < size_; rank++) {
    if (const std::string problem = blocks_[rank]->stuck(); !problem.empty()) return problem;
    returned += blocks_[rank]->returned();
  }
  return blocks_[0]->where() + ": divergent barrier of a cluster: " + std::to_string(waiting_) +
         " of " + std::to_string(threads_) + " threads wait at " + placeName(place_) + ", " +
         std::to_string(returned) + " have returned";
}

}  // namespace figment::cuda::emulator
