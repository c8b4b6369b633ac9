// Who touched which word of shared memory, and what lies between that and now. Two accesses of two
// threads to one word race when at least one of them writes, they are not both atomic, and no
// barrier orders them: one of the block, or a chain of barriers of lanes of one warp. A word that
// an asynchronous copy is on its way to may be touched by nobody.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace figment::cuda::emulator {

enum class Touch : uint8_t { read, write, atomic };

/// Which earlier accesses of a warp's lanes are over, for each lane. Time is the number of barriers
/// that any lanes of the warp have passed together.
class WarpOrder {
 public:
  uint32_t now() const { return meetings_; }
  /// The lanes of the mask have passed a barrier; `all` when the warp has no others.
  void meet(uint32_t mask, bool all);
  /// Whether what lane `before` did at `time` is over for lane `after`.
  bool ordered(uint32_t before, uint32_t time, uint32_t after) const {
    return all_ > time || seen_[after][before] > time;
  }
  /// Whether what any lane did at `time` is over for all.
  bool over(uint32_t time) const { return all_ > time; }

 private:
  uint32_t meetings_ = 0;
  uint32_t all_ = 0;            // when all lanes met last
  uint32_t seen_[32][32] = {};  // [after][before]: what is over, by barriers of some lanes
};

class RaceDetector {
 public:
  /// What an access raced with.
  struct Conflict {
    Touch with = Touch::read;
    bool copying = false;  ///< an asynchronous copy that is under way
    uint16_t thread = 0;
  };

  /// A new block: nothing of the last one counts.
  void begin(size_t warps, size_t bytes);
  void passBlockBarrier() { epoch_++; }
  void passWarpBarrier(uint32_t warp, uint32_t mask, bool all) { warps_[warp].meet(mask, all); }

  /// Notes an access of `thread`; false when it races, and `conflict` says with what.
  bool note(size_t offset, size_t bytes, Touch touch, uint32_t thread, Conflict& conflict);
  /// The thread's asynchronous copy to these bytes begins (after note) or is waited for.
  void beginCopy(size_t offset, size_t bytes, uint32_t thread);
  void endCopy(size_t offset, size_t bytes);

 private:
  static constexpr size_t kWordBytes = 2;
  /// One word. Epochs count barriers of the block, over all blocks; 0 is before the first.
  struct Word {
    uint32_t writeEpoch = 0, writeTime = 0;
    uint16_t writer = 0;
    uint16_t copier = 0;  ///< 1 + the thread whose copy is under way
    // Reads, or atomic accesses, that are not ordered among each other, since the last write.
    uint32_t othersEpoch = 0, othersTime = 0;
    uint32_t lanes = 0;
    uint16_t warp = 0;
    bool manyWarps = false;
    bool atomic = false;
  };

  bool overFor(uint32_t thread, uint32_t before, uint32_t epoch, uint32_t time) const;
  /// The lanes of the word's other accesses that are not over for the thread.
  uint32_t openLanes(const Word& word, uint32_t thread) const;
  bool touch(Word& word, Touch touch, uint32_t thread, Conflict& conflict);

  std::vector<Word> words_;
  std::vector<WarpOrder> warps_;
  uint32_t epoch_ = 0;
};

}  // namespace figment::cuda::emulator
