// What Hopper does beside a block's threads: barriers in shared memory (mbarrier) and copies that
// count on them. A copy arrives as late as can be: when every thread of the block waits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "races.h"
#include "runtime/cuda.h"

namespace figment::cuda::emulator {

class Block;

class Asynchronous {
 public:
  explicit Asynchronous(Block& block) : block_(block) {}

  void begin();
  /// Whether this block has had any of it.
  bool used() const { return !barriers_.empty(); }

  // Called by the running thread.
  void initBarrier(uint32_t address, uint32_t arrivals);
  void publishBarriers() { published_ = barriers_.size(); }
  /// Announces bytes, then arrives.
  void arrive(uint32_t address, uint32_t bytes);
  void wait(uint32_t address, uint32_t parity);
  /// A copy of these bytes, which the map's swizzle puts into place.
  void copy(uint32_t to, CUtensorMapSwizzle swizzle, std::vector<std::byte> bytes,
            uint32_t barrier);
  /// Counts in blocks that have barriers.
  void noteWrite(size_t offset, size_t bytes);
  void publishWrites();

  /// Off the fibres, when every thread waits: whether a copy arrived.
  bool advance();
  /// What threads wait for that never comes, empty when none does.
  std::string stuck() const;
  /// What is wrong when all threads have returned.
  std::string leftOver() const;

 private:
  struct Barrier {
    size_t offset;
    uint32_t arrivals;
    uint32_t missing;   ///< arrivals of this phase
    int64_t bytes = 0;  ///< announced, less those that came
    uint32_t phase = 0;
    WarpTimes order = {};
    std::vector<uint32_t> waiting = {};
  };
  struct Copy {
    uint32_t to;
    CUtensorMapSwizzle swizzle;
    std::vector<std::byte> bytes;
    size_t barrier;
    uint32_t thread;
  };
  struct Write {
    size_t offset, bytes;
    uint32_t thread;
  };

  size_t barrierAt(uint32_t address, const char* doing);
  void endPhase(Barrier& barrier);

  Block& block_;
  std::vector<Barrier> barriers_;
  size_t published_ = 0;
  std::vector<Copy> copies_;
  std::vector<Write> writes_;  ///< that their threads have not published
};

}  // namespace figment::cuda::emulator
