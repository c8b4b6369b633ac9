#include "races.h"

namespace figment::cuda::emulator {

bool RaceDetector::unordered(const Access& before, const Moment& now) {
  if (!before.any || before.moment.blockEpoch != now.blockEpoch) return false;
  if (before.manyWarps || before.moment.thread / 32 != now.thread / 32) return true;
  if (before.moment.warpEpoch != now.warpEpoch) return false;
  return before.manyThreads || before.moment.thread != now.thread;
}

bool RaceDetector::note(size_t offset, size_t bytes, bool write, const Moment& now,
                        uint16_t* other) {
  for (size_t w = offset / kWordBytes; w < (offset + bytes + kWordBytes - 1) / kWordBytes; w++) {
    Word& word = words_[w];
    if (unordered(word.write, now)) {
      *other = word.write.moment.thread;
      return false;
    }
    if (write) {
      if (unordered(word.read, now)) {
        *other = word.read.moment.thread;
        return false;
      }
      word.write = {true, false, false, now};
      word.read = {};
      continue;
    }
    const Access& read = word.read;
    const bool sameSpan = read.any && read.moment.blockEpoch == now.blockEpoch;
    const bool sameWarp = sameSpan && read.moment.thread / 32 == now.thread / 32;
    const bool sameTurn = sameWarp && read.moment.warpEpoch == now.warpEpoch;
    word.read = {true, sameTurn && (read.manyThreads || read.moment.thread != now.thread),
                 sameSpan && (read.manyWarps || !sameWarp), now};
  }
  return true;
}

}  // namespace figment::cuda::emulator
