// What device.h and shared.h declare, for the running thread of the running block.
#include "block_cluster.h"
#include "cluster.h"
#include "shared.h"

namespace figment::cuda::emulator {
namespace {

std::string span(int64_t index, int64_t elements, const char* kind, int64_t count, size_t size) {
  return "accesses elements [" + std::to_string(index) + ", " + std::to_string(index + elements) +
         ") of a " + kind + " array of " + std::to_string(count) + " (" + std::to_string(size) +
         " bytes each)";
}

/// One lane's part in a vote.
struct Vote {
  bool vote;
  uint32_t votes;    ///< of all that take part, by lane
  uint32_t members;  ///< who takes part
};

Vote voteOf(uint32_t mask, const char* kind, bool vote) {
  Vote mine = {vote, 0, 0};
  warpOperation(
      mask, kind,
      [](void* const* lanes, uint32_t members) {
        uint32_t votes = 0;
        for (int lane = 0; lane < 32; lane++)
          if (members >> lane & 1 && static_cast<Vote*>(lanes[lane])->vote) votes |= 1u << lane;
        for (int lane = 0; lane < 32; lane++) {
          if (!(members >> lane & 1)) continue;
          static_cast<Vote*>(lanes[lane])->votes = votes;
          static_cast<Vote*>(lanes[lane])->members = members;
        }
      },
      &mine);
  return mine;
}

}  // namespace

void runGrid(dim3 grid, uint32_t cluster, uint32_t threads, size_t sharedBytes, const char* name,
             const std::function<void()>& kernel) {
  static thread_local BlockCluster blocks;
  for (uint32_t z = 0; z < grid.z; z++)
    for (uint32_t y = 0; y < grid.y; y++)
      for (uint32_t x = 0; x < grid.x; x += cluster)
        blocks.run(grid, {x, y, z}, cluster, threads, sharedBytes, name, kernel);
}

void refuse(const std::string& message) { Block::current().fail(message); }
void refuseGlobal(int64_t index, int64_t elements, int64_t count, size_t size) {
  refuse(span(index, elements, "global", count, size));
}
void refuseShared(int64_t index, int64_t elements, int64_t count, size_t size) {
  refuse(span(index, elements, "shared", count, size));
}
void refuseAlignment(size_t bytes) {
  refuse("moves a vector that is not aligned to " + std::to_string(bytes) + " bytes");
}

int blockBarrier(int voteKind, bool vote, const std::source_location& place) {
  return Block::current().waitForBlock(voteKind, vote, place);
}
void warpOperation(uint32_t mask, const char* kind, WarpAction action, void* mine) {
  Block::current().waitForWarp(mask, kind, action, mine);
}
int lane() { return Block::current().lane(); }

std::byte* sharedBytes(const void* key, size_t bytes) {
  return Block::current().shared(key, bytes);
}
std::byte* dynamicSharedBytes(size_t offset, size_t bytes) {
  return Block::current().dynamicShared(offset, bytes);
}
uint32_t sharedAddress(const std::byte* at) { return Block::current().addressOf(at); }
void noteRead(const std::byte* at, size_t bytes) { Block::current().note(at, bytes, Touch::read); }
void noteWrite(const std::byte* at, size_t bytes) {
  Block::current().note(at, bytes, Touch::write);
}
void noteAtomic(const std::byte* at, size_t bytes) {
  Block::current().note(at, bytes, Touch::atomic);
}

int clusterSize() { return Block::current().clusterSize(); }
int clusterRank() { return Block::current().rank(); }
void syncCluster(const std::source_location& place) { Block::current().waitForCluster(place); }
const std::byte* readInCluster(const std::byte* at, size_t bytes, int rank) {
  return Block::current().readInCluster(at, bytes, rank);
}

}  // namespace figment::cuda::emulator

using figment::cuda::emulator::Vote;
using figment::cuda::emulator::voteOf;

void __syncwarp(uint32_t mask) {
  figment::cuda::emulator::warpOperation(mask, "__syncwarp", nullptr, nullptr);
}
uint32_t __ballot_sync(uint32_t mask, int vote) {
  return voteOf(mask, "__ballot_sync", vote != 0).votes;
}
int __any_sync(uint32_t mask, int vote) { return voteOf(mask, "__any_sync", vote != 0).votes != 0; }
int __all_sync(uint32_t mask, int vote) {
  const Vote all = voteOf(mask, "__all_sync", vote != 0);
  return all.votes == all.members;
}
