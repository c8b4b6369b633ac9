// One block of a grid: its fibres take turns, each until it waits for others. Blocks run one after
// the other in the same object, so that a grid of many costs little for each; block_cluster.h runs
// them.
#pragma once

#include <functional>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

#include "asynchronous.h"
#include "device.h"
#include "fibre.h"
#include "products.h"
#include "races.h"

namespace figment::cuda::emulator {

class BlockCluster;

class Block {
 public:
  static constexpr uint32_t kMaxThreads = 1024;
  /// Of one block, and of the arrays that kernels declare (the device's compiler refuses more).
  static constexpr size_t kMaxShared = 227 * 1024, kMaxDeclared = 48 * 1024;

  explicit Block(BlockCluster& cluster);
  ~Block();

  /// The block of the running thread.
  static Block& current();

  /// Begins a block; throws Error when there can be none such.
  void begin(dim3 grid, dim3 block, int rank, uint32_t threads, size_t dynamicBytes,
             const char* name, const std::function<void()>& kernel);
  /// Lets each thread run until it waits for others; false when every one waits. Ends with the
  /// first failure.
  bool takeTurns();
  const std::string& failure() const { return failure_; }
  /// Whether all threads have returned, and how many.
  bool over() const { return ended_ == count_; }
  uint32_t returned() const { return ended_; }
  /// Where every thread waits: whether the copy engine brought something.
  bool advance() { return asynchronous_.advance(); }
  /// What threads wait for that never comes; empty when they wait for other blocks alone.
  std::string stuck() const;
  /// What is wrong when all threads have returned; empty when nothing is.
  std::string leftOver() const;
  void end();
  std::string where() const;

  // Called by the running thread.
  /// `voteKind` is −1 for a barrier without a vote; see device.h.
  int waitForBlock(int voteKind, bool vote, const std::source_location& place);
  void waitForWarp(uint32_t mask, const char* kind, WarpAction action, void* mine);
  void waitForCluster(const std::source_location& place);
  /// See cluster.h.
  const std::byte* readInCluster(const std::byte* at, size_t bytes, int rank);
  /// The array that `key` stands for, the same for all threads.
  std::byte* shared(const void* key, size_t bytes);
  std::byte* dynamicShared(size_t offset, size_t bytes);
  void note(const std::byte* at, size_t bytes, Touch touch);
  void beginCopy(std::byte* to, const void* data, uint32_t bytes);
  void commitCopies() { threads_[running_].copyGroup++; }
  void waitForCopies(uint32_t groups);
  [[noreturn]] void fail(const std::string& message);
  int lane() const { return int(running_ % 32); }
  int clusterSize() const;
  /// In its cluster.
  int rank() const { return rank_; }

  // For the cluster: the running thread waits at its barrier; all have come to it.
  void suspendForCluster();
  void passClusterBarrier();

  // For what Hopper does beside the threads.
  Asynchronous& asynchronous() { return asynchronous_; }
  Products& products() { return products_; }
  RaceDetector& races() { return races_; }
  uint32_t runningThread() const { return running_; }
  uint32_t threadCount() const { return count_; }
  /// The running thread waits until another, or what the copy engine brings, wakes it.
  void suspend();
  void wake(uint32_t thread) { threads_[thread].wait = Wait::none; }
  /// A barrier of so many threads, in whole warps.
  void waitForSome(int number, uint32_t threads);
  /// Of each thread of the running one's warpgroup, from now on.
  void setRegisters(uint32_t registers);
  /// Shared memory by the addresses of instructions: where bytes that must lie in it begin, counted
  /// from its first.
  size_t sharedOffset(uint32_t address, size_t bytes, size_t alignment);
  size_t offsetAt(uint32_t address) const { return address - kFirstAddress; }
  std::byte* sharedAt(uint32_t address) { return sharedMemory_ + offsetAt(address); }
  std::byte* sharedBytesAt(size_t offset) const { return sharedMemory_ + offset; }
  uint32_t addressOf(const std::byte* at) const { return uint32_t(offsetOf(at)) + kFirstAddress; }
  void noteAt(size_t offset, size_t bytes, Touch touch);
  /// The same of the copy engine or the tensor cores.
  void noteEngineAt(size_t offset, size_t bytes, Touch touch);

 private:
  enum class Wait : uint8_t { none, block, warp, cluster, other, done };
  /// The block's shared memory begins there, as on the device.
  static constexpr uint32_t kFirstAddress = 1024;
  static constexpr int kNamedBarriers = 16;
  static constexpr int kNobody = -1;
  /// A copy that has begun and is not yet waited for.
  struct PendingCopy {
    std::byte* to;
    std::byte data[16];
    uint32_t bytes;
    uint32_t group;
  };
  struct Thread {
    std::unique_ptr<Fibre> fibre;
    ThreadVariables variables;
    Wait wait = Wait::none;
    int voteResult = 0;
    std::vector<PendingCopy> copies;
    uint32_t copyGroup = 0;  ///< that copies begun now belong to
  };
  /// An operation of some lanes of a warp that not all of them have come to.
  struct Gathering {
    uint32_t mask;
    uint32_t arrived;
    const char* kind;
    WarpAction action;
    void* lanes[32];
  };
  struct Warp {
    std::vector<Gathering> gatherings;
    uint32_t there = 0;  ///< lanes that have not returned
  };
  /// A barrier of some threads.
  struct NamedBarrier {
    uint32_t threads = 0;
    std::vector<uint32_t> waiting;
  };
  struct DeclaredArray {
    const void* key;
    size_t begin;
  };

  void resume(uint32_t thread);
  /// On the fibre: the kernel, to its end.
  void runThread();
  void leave();
  /// Performs the gathering's operation if all lanes that are still there have arrived.
  bool completed(uint32_t warp, size_t gathering);
  void releaseBarrier();
  [[noreturn]] void failAt(size_t offset, Touch touch, const RaceDetector::Conflict& conflict);
  void dropCopies(Thread& thread);
  size_t offsetOf(const std::byte* at) const { return size_t(at - sharedMemory_); }

  BlockCluster& cluster_;
  int rank_ = 0;
  int reader_ =
      kNobody;  ///< the block that read this one's memory since the cluster's last barrier
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::byte* sharedMemory_;
  size_t sharedEnd_ = 0;  ///< past the bytes that this block uses
  std::vector<DeclaredArray> declared_;
  RaceDetector races_;
  const std::function<void()>* kernel_ = nullptr;
  const char* name_ = "";
  std::string failure_;
  uint32_t count_ = 0;
  uint32_t running_ = 0;
  uint32_t waiting_ = 0;  // at the block's barrier
  uint32_t ended_ = 0;
  std::source_location barrier_;  // where those that wait do
  int votes_ = 0;
  int voteKind_ = -1;
  size_t dynamicBytes_ = 0;
  NamedBarrier named_[kNamedBarriers];
  std::vector<uint32_t> registers_;  // of each warpgroup's threads, where they were set
  Asynchronous asynchronous_{*this};
  Products products_{*this};
};

}  // namespace figment::cuda::emulator
