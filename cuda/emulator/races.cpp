#include "races.h"

#include <algorithm>
#include <bit>

namespace figment::cuda::emulator {

void WarpOrder::meet(uint32_t mask, bool all) {
  meetings_++;
  if (all) {
    all_ = meetings_;
    return;
  }
  // What was over for one of them is now over for all, and so is all that they did.
  uint32_t joined[32] = {};
  for (uint32_t lane = 0; lane < 32; lane++)
    if (mask >> lane & 1)
      for (int i = 0; i < 32; i++) joined[i] = std::max(joined[i], seen_[lane][i]);
  for (uint32_t lane = 0; lane < 32; lane++)
    if (mask >> lane & 1) joined[lane] = meetings_;
  for (uint32_t lane = 0; lane < 32; lane++)
    if (mask >> lane & 1) std::copy(joined, joined + 32, seen_[lane]);
}

void RaceDetector::begin(size_t warps, size_t bytes) {
  constexpr uint32_t kWraps = 0xf0000000u;
  const bool wraps = epoch_ > kWraps || std::any_of(warps_.begin(), warps_.end(),
                                                    [](auto& warp) { return warp.now() > kWraps; });
  if (wraps) {
    words_.clear();
    warps_.clear();
    epoch_ = 0;
  }
  epoch_++;
  if (warps_.size() < warps) warps_.resize(warps);
  const size_t count = (bytes + kWordBytes - 1) / kWordBytes;
  if (words_.size() < count) words_.resize(count);
}

bool RaceDetector::overFor(uint32_t thread, uint32_t before, uint32_t epoch, uint32_t time) const {
  if (epoch != epoch_ || before == thread) return true;
  if (before / 32 != thread / 32) return false;
  return warps_[thread / 32].ordered(before % 32, time, thread % 32);
}

uint32_t RaceDetector::openLanes(const Word& word, uint32_t thread) const {
  if (word.othersEpoch != epoch_) return 0;
  if (word.warp != thread / 32) return word.lanes;
  const WarpOrder& warp = warps_[word.warp];
  if (warp.over(word.othersTime)) return 0;
  if (warp.now() == word.othersTime) return word.lanes & ~(1u << (thread % 32));
  uint32_t open = 0;
  for (uint32_t left = word.lanes; left != 0; left &= left - 1) {
    const auto lane = uint32_t(std::countr_zero(left));
    if (!overFor(thread, word.warp * 32u + lane, word.othersEpoch, word.othersTime))
      open |= 1u << lane;
  }
  return open;
}

bool RaceDetector::touch(Word& word, Touch touch, uint32_t thread, Conflict& conflict) {
  if (word.copier != 0) {
    conflict = {Touch::write, true, uint16_t(word.copier - 1)};
    return false;
  }
  if (!overFor(thread, word.writer, word.writeEpoch, word.writeTime)) {
    conflict = {Touch::write, false, word.writer};
    return false;
  }
  const uint32_t time = warps_[thread / 32].now();
  const auto warp = uint16_t(thread / 32);
  const uint32_t lane = 1u << (thread % 32);
  const bool together = touch != Touch::write && word.atomic == (touch == Touch::atomic);
  if (!together) {
    const bool elsewhere = word.othersEpoch == epoch_ && word.manyWarps;
    const uint32_t open = openLanes(word, thread);
    if (elsewhere || open != 0) {
      // Of many warps only the last is known; where it is the thread's own, another has no name.
      const uint32_t named = open != 0 ? open : word.lanes;
      conflict = {word.atomic ? Touch::atomic : Touch::read, false,
                  uint16_t(word.warp * 32u + uint32_t(std::countr_zero(named)))};
      return false;
    }
  }
  if (touch == Touch::write) {
    word.writeEpoch = epoch_;
    word.writeTime = time;
    word.writer = uint16_t(thread);
    word.othersEpoch = 0;
    return true;
  }
  // Those that are over for this thread are over for whoever waits for it.
  const bool same = together && word.othersEpoch == epoch_;
  const bool manyWarps = same && (word.manyWarps || word.warp != warp);
  const uint32_t open = same && word.warp == warp ? openLanes(word, thread) : 0;
  word.othersTime = open != 0 ? std::max(time, word.othersTime) : time;
  word.othersEpoch = epoch_;
  word.lanes = open | lane;
  word.warp = warp;
  word.manyWarps = manyWarps;
  word.atomic = touch == Touch::atomic;
  return true;
}

bool RaceDetector::note(size_t offset, size_t bytes, Touch touched, uint32_t thread,
                        Conflict& conflict) {
  const size_t end = (offset + bytes + kWordBytes - 1) / kWordBytes;
  for (size_t w = offset / kWordBytes; w < end; w++)
    if (!touch(words_[w], touched, thread, conflict)) return false;
  return true;
}

void RaceDetector::beginCopy(size_t offset, size_t bytes, uint32_t thread) {
  for (size_t w = offset / kWordBytes; w < (offset + bytes) / kWordBytes; w++)
    words_[w].copier = uint16_t(thread + 1);
}

void RaceDetector::endCopy(size_t offset, size_t bytes) {
  for (size_t w = offset / kWordBytes; w < (offset + bytes) / kWordBytes; w++) words_[w].copier = 0;
}

}  // namespace figment::cuda::emulator
