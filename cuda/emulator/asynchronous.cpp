#include "asynchronous.h"

#include <cstring>

#include "block.h"
#include "tensor_map.h"

namespace figment::cuda::emulator {
namespace {

constexpr size_t kBarrierBytes = 8;
constexpr uint32_t kCopyAlignment = 128;

std::string nameOf(size_t offset) { return "the mbarrier at byte " + std::to_string(offset); }

}  // namespace

void Asynchronous::begin() {
  barriers_.clear();
  copies_.clear();
  writes_.clear();
  published_ = 0;
}

void Asynchronous::initBarrier(uint32_t address, uint32_t arrivals) {
  const size_t offset = block_.sharedOffset(address, kBarrierBytes, kBarrierBytes);
  if (arrivals == 0) block_.fail("an mbarrier of no arrivals");
  block_.noteAt(offset, kBarrierBytes, Touch::write);
  barriers_.push_back({offset, arrivals, arrivals});
}

size_t Asynchronous::barrierAt(uint32_t address, const char* doing) {
  const size_t offset = block_.sharedOffset(address, kBarrierBytes, kBarrierBytes);
  for (size_t i = 0; i < barriers_.size(); i++) {
    if (barriers_[i].offset != offset) continue;
    block_.noteAt(offset, kBarrierBytes, Touch::atomic);
    return i;
  }
  block_.fail(std::string(doing) + " byte " + std::to_string(offset) +
              " of shared memory, where no mbarrier was initialised");
}

void Asynchronous::endPhase(Barrier& barrier) {
  if (barrier.missing != 0 || barrier.bytes != 0) return;
  barrier.phase++;
  barrier.missing = barrier.arrivals;
  for (const uint32_t thread : barrier.waiting) block_.wake(thread);
  barrier.waiting.clear();
}

void Asynchronous::arrive(uint32_t address, uint32_t bytes) {
  Barrier& barrier = barriers_[barrierAt(address, "arrives at")];
  if (barrier.missing == 0)
    block_.fail("arrives once more than " + std::to_string(barrier.arrivals) + " times at " +
                nameOf(barrier.offset) + " in phase " + std::to_string(barrier.phase));
  block_.races().release(block_.runningThread() / 32, barrier.order);
  barrier.bytes += bytes;
  barrier.missing--;
  endPhase(barrier);
}

void Asynchronous::wait(uint32_t address, uint32_t parity) {
  const size_t at = barrierAt(address, "waits at");
  const uint32_t self = block_.runningThread();
  while (barriers_[at].phase % 2 == parity) {
    barriers_[at].waiting.push_back(self);
    block_.suspend();
  }
  block_.races().acquire(self / 32, barriers_[at].order);
}

void Asynchronous::copy(uint32_t to, CUtensorMapSwizzle swizzle, std::vector<std::byte> bytes,
                        uint32_t barrier) {
  const size_t at = barrierAt(barrier, "copies for");
  if (at >= published_)
    block_.fail("copies for " + nameOf(barriers_[at].offset) +
                ", of which the copy engine has not been told (fence.mbarrier_init)");
  const size_t offset = block_.sharedOffset(to, bytes.size(), kCopyAlignment);
  block_.noteEngineAt(offset, bytes.size(), Touch::write);
  block_.races().beginCopy(offset, bytes.size(), block_.runningThread());
  copies_.push_back({to, swizzle, std::move(bytes), at, block_.runningThread()});
}

bool Asynchronous::advance() {
  if (copies_.empty()) return false;
  const Copy copy = std::move(copies_.front());
  copies_.erase(copies_.begin());
  Barrier& barrier = barriers_[copy.barrier];
  RaceDetector& races = block_.races();
  const size_t offset = block_.offsetAt(copy.to);
  races.endCopy(offset, copy.bytes.size());
  RaceDetector::Conflict none;
  races.note(offset, copy.bytes.size(), Touch::write, copy.thread, none);
  constexpr size_t kPiece = 16;
  for (size_t i = 0; i < copy.bytes.size(); i += kPiece)
    std::memcpy(block_.sharedAt(swizzled(uint32_t(copy.to + i), copy.swizzle)),
                copy.bytes.data() + i, kPiece);
  races.release(copy.thread / 32, barrier.order);
  barrier.bytes -= int64_t(copy.bytes.size());
  endPhase(barrier);
  return true;
}

void Asynchronous::noteWrite(size_t offset, size_t bytes) {
  if (!used()) return;
  block_.races().beginWriting(offset, bytes);
  writes_.push_back({offset, bytes, block_.runningThread()});
}

void Asynchronous::publishWrites() {
  const uint32_t self = block_.runningThread();
  std::erase_if(writes_, [&](const Write& write) {
    if (write.thread != self) return false;
    block_.races().publish(write.offset, write.bytes, self);
    return true;
  });
}

std::string Asynchronous::stuck() const {
  for (const Barrier& barrier : barriers_) {
    if (barrier.waiting.empty()) continue;
    return "deadlock: " + std::to_string(barrier.waiting.size()) + " threads, among them thread " +
           std::to_string(barrier.waiting.front()) + ", wait at " + nameOf(barrier.offset) +
           " for the end of phase " + std::to_string(barrier.phase) + ", which lacks " +
           std::to_string(barrier.missing) + " arrivals and " + std::to_string(barrier.bytes) +
           " bytes";
  }
  return "";
}

std::string Asynchronous::leftOver() const {
  if (copies_.empty()) return "";
  return "a copy for " + nameOf(barriers_[copies_.front().barrier].offset) +
         " is under way when its block ends";
}

}  // namespace figment::cuda::emulator
