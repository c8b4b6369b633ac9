#include "races.h"

#include <algorithm>
#include <bit>
#include <iterator>

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

void WarpTimes::join(const WarpTimes& other) {
  for (int i = 0; i < 32; i++) until[i] = std::max(until[i], other.until[i]);
}

void RaceDetector::begin(size_t warps, size_t bytes) {
  constexpr uint32_t kWraps = 0xf0000000u;
  const bool wraps = epoch_ > kWraps || std::any_of(warps_.begin(), warps_.end(),
                                                    [](auto& warp) { return warp.now() > kWraps; });
  if (wraps) {
    words_.clear();
    warps_.clear();
    std::fill(std::begin(seen_), std::end(seen_), WarpTimes());
    epoch_ = 0;
  }
  if (warps_.size() < warps) warps_.resize(warps);
  passClusterBarrier();
  const size_t count = (bytes + kWordBytes - 1) / kWordBytes;
  if (words_.size() < count) words_.resize(count);
}

void RaceDetector::passBlockBarrier() {
  epoch_++;
  for (size_t w = 0; w < warps_.size(); w++) epochBegins_[w] = warps_[w].now();
}

void RaceDetector::passClusterBarrier() {
  passBlockBarrier();
  clusterBegins_ = epoch_;
}

void RaceDetector::release(uint32_t warp, WarpTimes& into) {
  warps_[warp].tick();
  into.join(seen_[warp]);
  into.until[warp] = warps_[warp].now();
}

bool RaceDetector::overFor(uint32_t thread, uint32_t before, uint32_t epoch, uint32_t time) const {
  if (epoch != epoch_ || before == thread) return true;
  const uint32_t warp = thread / 32;
  if (seen_[warp].until[before / 32] > time) return true;
  return before / 32 == warp && warps_[warp].ordered(before % 32, time, thread % 32);
}

uint32_t RaceDetector::openLanes(const Word& word, uint32_t thread) const {
  if (word.othersEpoch != epoch_) return 0;
  if (word.warp != thread / 32)
    return seen_[thread / 32].until[word.warp] > word.othersTime ? 0 : word.lanes;
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

/// Of many warps only the last one's time is known: another's is taken to be over when it has
/// released anything since the last barrier of the block.
bool RaceDetector::openElsewhere(const Word& word, uint32_t thread) const {
  if (word.othersEpoch != epoch_) return false;
  for (uint32_t left = word.warps & ~(1u << word.warp); left != 0; left &= left - 1) {
    const auto warp = uint32_t(std::countr_zero(left));
    if (seen_[thread / 32].until[warp] <= epochBegins_[warp]) return true;
  }
  return false;
}

bool RaceDetector::touch(Word& word, Touch touch, uint32_t thread, Conflict& conflict) {
  if (word.copier != 0) {
    conflict = {Touch::write, Conflict::copying, uint16_t(word.copier - 1)};
    return false;
  }
  if (touch != Touch::read && word.readers != 0) {
    conflict = {Touch::read, Conflict::multiplying, 0};
    return false;
  }
  if (touch != Touch::read && word.foreignEpoch >= clusterBegins_) {
    conflict = {Touch::read, Conflict::foreign, word.foreigner.thread, word.foreigner.block};
    return false;
  }
  if (!overFor(thread, word.writer, word.writeEpoch, word.writeTime)) {
    conflict = {Touch::write, Conflict::access, word.writer};
    return false;
  }
  const uint32_t time = warps_[thread / 32].now();
  const auto warp = uint16_t(thread / 32);
  const uint32_t lane = 1u << (thread % 32);
  const bool together = touch != Touch::write && word.atomic == (touch == Touch::atomic);
  if (!together) {
    const uint32_t open = openLanes(word, thread);
    if (open != 0 || openElsewhere(word, thread)) {
      // Of many warps only the last is known; where it is the thread's own, another has no name.
      const uint32_t named = open != 0 ? open : word.lanes;
      conflict = {word.atomic ? Touch::atomic : Touch::read, Conflict::access,
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
  const uint32_t others = same ? word.warps : 0;
  const uint32_t open = same && word.warp == warp ? openLanes(word, thread) : 0;
  word.othersTime = open != 0 ? std::max(time, word.othersTime) : time;
  word.othersEpoch = epoch_;
  word.lanes = open | lane;
  word.warp = warp;
  word.warps = others | 1u << warp;
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

bool RaceDetector::noteForeign(size_t offset, size_t bytes, Foreigner reader, Conflict& conflict) {
  const size_t end = (offset + bytes + kWordBytes - 1) / kWordBytes;
  for (size_t w = offset / kWordBytes; w < end; w++) {
    Word& word = words_[w];
    if (word.copier != 0) {
      conflict = {Touch::write, Conflict::copying, uint16_t(word.copier - 1)};
      return false;
    }
    if (word.writeEpoch >= clusterBegins_) {
      conflict = {Touch::write, Conflict::access, word.writer};
      return false;
    }
    if (word.atomic && word.othersEpoch >= clusterBegins_) {
      conflict = {Touch::atomic, Conflict::access,
                  uint16_t(word.warp * 32u + uint32_t(std::countr_zero(word.lanes)))};
      return false;
    }
    word.foreigner = reader;
    word.foreignEpoch = epoch_;
  }
  return true;
}

void RaceDetector::beginCopy(size_t offset, size_t bytes, uint32_t thread) {
  for (size_t w = offset / kWordBytes; w < (offset + bytes) / kWordBytes; w++)
    words_[w].copier = uint16_t(thread + 1);
}

void RaceDetector::endCopy(size_t offset, size_t bytes) {
  for (size_t w = offset / kWordBytes; w < (offset + bytes) / kWordBytes; w++) words_[w].copier = 0;
}

bool RaceDetector::noteEngine(size_t offset, size_t bytes, Touch touched, uint32_t thread,
                              Conflict& conflict) {
  for (size_t w = offset / kWordBytes; w < (offset + bytes) / kWordBytes; w++) {
    if (words_[w].unpublished) {
      conflict = {Touch::write, Conflict::unpublished, words_[w].writer};
      return false;
    }
    if (!touch(words_[w], touched, thread, conflict)) return false;
  }
  return true;
}

void RaceDetector::beginReading(size_t offset, size_t bytes) {
  for (size_t w = offset / kWordBytes; w < (offset + bytes) / kWordBytes; w++) words_[w].readers++;
}

void RaceDetector::endReading(size_t offset, size_t bytes) {
  for (size_t w = offset / kWordBytes; w < (offset + bytes) / kWordBytes; w++) words_[w].readers--;
}

void RaceDetector::beginWriting(size_t offset, size_t bytes) {
  for (size_t w = offset / kWordBytes; w < (offset + bytes) / kWordBytes; w++)
    words_[w].unpublished = true;
}

void RaceDetector::publish(size_t offset, size_t bytes, uint32_t thread) {
  for (size_t w = offset / kWordBytes; w < (offset + bytes) / kWordBytes; w++)
    if (words_[w].writer == thread) words_[w].unpublished = false;
}

void RaceDetector::agree(size_t offset, size_t bytes) {
  for (size_t w = offset / kWordBytes; w < (offset + bytes) / kWordBytes; w++)
    words_[w].writeEpoch = 0;
}

void RaceDetector::forget(size_t offset, size_t bytes) {
  for (size_t w = offset / kWordBytes; w < (offset + bytes) / kWordBytes; w++) {
    words_[w].copier = words_[w].readers = 0;
    words_[w].unpublished = false;
  }
}

}  // namespace figment::cuda::emulator
