// One block of a grid, run to its end: its fibres take turns, each until it waits for others.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "device.h"
#include "fibre.h"
#include "races.h"

namespace figment::cuda::emulator {

class Block {
 public:
  static constexpr uint32_t kMaxThreads = 1024;
  static constexpr size_t kMaxShared = 227 * 1024;

  /// The block of the running kernel.
  static Block& current();

  /// Runs one block; throws Error when a check fails.
  void run(dim3 grid, dim3 block, uint32_t threads, size_t dynamicBytes, const char* name,
           const std::function<void()>& kernel);

  // Called by the running thread.
  void waitForBlock(int voteKind, bool vote, int* result);
  void waitForWarp(uint32_t mask, const char* kind, WarpAction action, void* mine);
  std::byte* shared(size_t bytes);
  std::byte* dynamicShared(size_t offset, size_t bytes);
  void note(const std::byte* at, size_t bytes, bool write);
  [[noreturn]] void fail(const std::string& message);
  int lane() const { return int(running_ % 32); }
  /// Copies that the running thread has begun and not yet waited for; see instructions.h.
  struct PendingCopy {
    std::byte* to;
    std::byte data[16];
    uint32_t bytes;
    uint32_t group;
  };
  struct CopyQueue {
    std::vector<PendingCopy> copies;
    uint32_t group = 0;  ///< that copies begun now belong to
  };
  CopyQueue& copies() { return threads_[running_].copies; }

 private:
  enum class Wait : uint8_t { none, block, warp, done };
  struct Thread {
    std::unique_ptr<Fibre> fibre;
    ThreadVariables variables;
    Wait wait = Wait::none;
    size_t sharedUsed = 0;
    int voteResult = 0;
    CopyQueue copies;
  };
  /// An operation of some lanes of a warp that not all of them have come to.
  struct Gathering {
    uint32_t mask;
    uint32_t arrived;
    const char* kind;
    void* lanes[32];
  };
  struct Warp {
    std::vector<Gathering> gatherings;
    uint32_t epoch = 0;
  };

  void releaseBarrier();
  std::string where() const;
  std::string stuck() const;

  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<std::byte> sharedMemory_;
  RaceDetector races_;
  const std::function<void()>* kernel_ = nullptr;
  const char* name_ = "";
  std::string failure_;
  uint32_t count_ = 0;
  uint32_t running_ = 0;
  uint32_t waiting_ = 0;  // at the block's barrier
  uint32_t ended_ = 0;
  uint32_t epoch_ = 0;
  int votes_ = 0;
  int voteKind_ = -1;
  size_t dynamicBytes_ = 0;
};

}  // namespace figment::cuda::emulator
