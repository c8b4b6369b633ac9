// Who touched which word of shared memory last, and between which barriers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace figment::cuda::emulator {

/// A thread at a moment: numbers of barriers that its block and its warp have passed.
struct Moment {
  uint16_t thread;
  uint32_t blockEpoch;
  uint32_t warpEpoch;
};

class RaceDetector {
 public:
  void reset(size_t bytes) { words_.assign((bytes + 1) / kWordBytes, {}); }
  /// Notes an access; false when it races, and `other` is then with whom.
  bool note(size_t offset, size_t bytes, bool write, const Moment& now, uint16_t* other);

 private:
  static constexpr size_t kWordBytes = 2;
  struct Access {
    bool any = false;
    bool manyThreads = false;  // of the warp, since its last barrier
    bool manyWarps = false;    // since the block's last barrier
    Moment moment = {};
  };
  struct Word {
    Access write, read;
  };
  static bool unordered(const Access& before, const Moment& now);

  std::vector<Word> words_;
};

}  // namespace figment::cuda::emulator
