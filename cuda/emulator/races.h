// Who touched which word of shared memory, and what lies between that and now. Two accesses of two
// threads to one word race when at least one of them writes, they are not both atomic, and no
// barrier orders them: one of the block, a chain of barriers of lanes of one warp, or of releases
// and acquisitions between warps (mbarriers, barriers of some warps), in which the lanes of a warp
// count as one. A word that an asynchronous copy is on its way to may be touched by nobody, one
// that a product of a warpgroup is to read may not be written, and the tensor cores and the copy
// engine may not touch what was written by a thread that has published it not yet
// (fence.proxy.async). What another block of the cluster reads, no thread of this one may write
// before the cluster's next barrier, nor may it have since the last.
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
  /// Time passes.
  void tick() { meetings_++; }
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

/// Up to when (in the time of each) what the warps did is over for whoever has this.
struct WarpTimes {
  uint32_t until[32] = {};
  void join(const WarpTimes& other);
};

class RaceDetector {
 public:
  /// A thread of another block of the cluster.
  struct Foreigner {
    uint8_t block = 0;
    uint16_t thread = 0;
  };
  /// What an access raced with.
  struct Conflict {
    enum Kind : uint8_t {
      access,
      copying,      ///< an asynchronous copy that is under way
      multiplying,  ///< a product that is under way
      foreign,      ///< a read by another block of the cluster
      unpublished   ///< a write that the tensor cores and the copy engine need not see
    };
    Touch with = Touch::read;
    Kind kind = access;
    uint16_t thread = 0;
    uint8_t block = 0;  ///< of a foreign thread
  };

  /// A new block: nothing of the last one counts.
  void begin(size_t warps, size_t bytes);
  void passBlockBarrier();
  void passClusterBarrier();
  void passWarpBarrier(uint32_t warp, uint32_t mask, bool all) { warps_[warp].meet(mask, all); }

  /// What the warp did is over for those that acquire `into` from now on.
  void release(uint32_t warp, WarpTimes& into);
  void acquire(uint32_t warp, const WarpTimes& from) { seen_[warp].join(from); }

  /// Notes an access of `thread`; false when it races, and `conflict` says with what.
  bool note(size_t offset, size_t bytes, Touch touch, uint32_t thread, Conflict& conflict);
  /// Notes a read by another block of the cluster.
  bool noteForeign(size_t offset, size_t bytes, Foreigner reader, Conflict& conflict);
  /// The thread's asynchronous copy to these bytes begins (after note) or is waited for.
  void beginCopy(size_t offset, size_t bytes, uint32_t thread);
  void endCopy(size_t offset, size_t bytes);
  /// The same of what the tensor cores or the copy engine do for the thread.
  bool noteEngine(size_t offset, size_t bytes, Touch touch, uint32_t thread, Conflict& conflict);
  /// A product that reads these bytes begins (after noteEngine) or is over.
  void beginReading(size_t offset, size_t bytes);
  void endReading(size_t offset, size_t bytes);
  /// The thread wrote these bytes, or has published what it wrote.
  void beginWriting(size_t offset, size_t bytes);
  void publish(size_t offset, size_t bytes, uint32_t thread);
  /// Several threads wrote the same to these bytes: that is no race, nor is reading it.
  void agree(size_t offset, size_t bytes);
  /// Of a block that is over, whose readers and writers count no longer.
  void forget(size_t offset, size_t bytes);

 private:
  static constexpr size_t kWordBytes = 2;
  /// One word. Epochs count barriers of the block, over all blocks; 0 is before the first.
  struct Word {
    uint32_t writeEpoch = 0, writeTime = 0;
    uint16_t writer = 0;
    uint16_t copier = 0;  ///< 1 + the thread whose copy is under way
    // Reads, or atomic accesses, that are not ordered among each other, since the last write.
    uint32_t othersEpoch = 0, othersTime = 0;
    uint32_t lanes = 0;  ///< of the last of their warps
    uint32_t warps = 0;
    uint16_t warp = 0;     ///< the last
    uint16_t readers = 0;  ///< products that are under way
    bool atomic = false;
    bool unpublished = false;
    Foreigner foreigner;  ///< the last that read it
    uint32_t foreignEpoch = 0;
  };

  bool overFor(uint32_t thread, uint32_t before, uint32_t epoch, uint32_t time) const;
  /// The lanes of the word's other accesses that are not over for the thread.
  uint32_t openLanes(const Word& word, uint32_t thread) const;
  /// Whether another warp than the last did one of them that is not known to be over.
  bool openElsewhere(const Word& word, uint32_t thread) const;
  bool touch(Word& word, Touch touch, uint32_t thread, Conflict& conflict);

  std::vector<Word> words_;
  std::vector<WarpOrder> warps_;
  WarpTimes seen_[32];             // by each warp
  uint32_t epochBegins_[32] = {};  // in the time of each warp
  uint32_t epoch_ = 0;
  uint32_t clusterBegins_ = 0;  ///< the epoch after the cluster's last barrier
};

}  // namespace figment::cuda::emulator
