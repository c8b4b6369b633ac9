// The CPU as a device: one allocator, one worker pool, one arena and the executor that runs
// verified programs on them. run() and the other members that say so need exclusive use (the
// caller's execution lock); the allocator may be used by any thread at any time.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "allocator.h"
#include "packed_states.h"
#include "program.h"
#include "run_result.h"
#include "thread_pool.h"
#include "timeline.h"

namespace figment {

/// The memory that a run works on, by ordinal; each at least as large as the program says.
struct Bindings {
  void* const* inputs = nullptr;
  void* const* outputs = nullptr;
  void* const* states = nullptr;
};

struct RunControl {
  bool serial = false;  ///< keep everything on the calling thread
  int (*poll)(void* context) = nullptr;
  void* pollContext = nullptr;
};

class RunContext;

class CpuDevice {
 public:
  CpuDevice(int threads, uint64_t memoryLimit);

  CachingAllocator& allocator() { return allocator_; }
  void* allocate(uint64_t bytes);
  void release(void* memory, uint64_t bytes);
  /// As CachingAllocator::exchange.
  void* exchange(void* memory, uint64_t bytes);
  /// Exclusive. Says that the memory is about to be written by other means than a run.
  void overwrite(const void* memory) { packed_.forget(memory); }
  uint64_t packedBytes() const { return packed_.bytes(); }
  /// Keeps room for the temporaries of a program that is about to be queued; any thread. False when
  /// there is none.
  bool claim(const Program& program);

  /// Exclusive. Looks for failures before each record, and asks `poll` before each record and
  /// iteration and within kernels, on any worker, but not within a commit section, all of whose
  /// records run. Iterations that are complete stay.
  RunResult run(Program& program, const Bindings& bindings, const RunControl& control);
  /// Exclusive. Gives arena, scratch, packed copies of states and cached blocks back to the system.
  void trim();

  /// Takes effect at the next run.
  void setThreads(int threads) { threads_.store(threads, std::memory_order_relaxed); }
  int threads() const { return threads_.load(std::memory_order_relaxed); }
  /// Fills fresh blocks and the arena with NaN patterns, so that reading what nobody wrote shows.
  void setPoison(bool on) { poison_.store(on, std::memory_order_relaxed); }

  Timeline& timeline() { return timeline_; }

 private:
  /// A block that only grows, kept between runs.
  struct Workspace {
    std::byte* data = nullptr;
    uint64_t bytes = 0;
  };
  /// Records [begin, end), which commit from commitStart on.
  struct Block {
    uint32_t begin;
    uint32_t end;
    uint32_t commitStart;
  };
  RunResult runBlock(Program& program, Block block, const RunControl& control, RunContext& context);
  void runKernel(const Program& program, uint32_t index, const RunControl& control,
                 RunContext& context);
  /// The packed copy of an operand of the record, made now if it has to be; null without room.
  const std::byte* packedOperand(const Program& program, const ProgramRecord& record,
                                 RunContext& context);
  bool reserve(Workspace& workspace, uint64_t bytes);
  bool reserveWorkspaces(uint64_t arenaBytes, uint64_t scratchBytes);
  void drop(Workspace& workspace);
  void bindSlots(const Program& program, const Bindings& bindings);
  void askScratch(Program& program, int threads);
  void guardOutputs(const Program& program);

  CachingAllocator allocator_;
  PackedStates packed_{allocator_};
  ThreadPool pool_;
  std::atomic<int> threads_;
  std::atomic<bool> poison_{false};
  Workspace arena_;
  Workspace scratch_;
  std::vector<std::byte*> bases_;  // address of each slot of the running program
  // Whether what kernels write behind their scratch and behind results is looked for: then the
  // bytes of scratch of each record, and what the blocks of outputs have behind these.
  bool guarded_ = false;
  std::vector<uint64_t> asked_;
  struct Guard {
    std::byte* from;
    uint64_t bytes;
  };
  std::vector<Guard> behindOutputs_;
  Timeline timeline_;
};

/// The process's CPU device, sized by FIGMENT_THREADS or the machine. Never destroyed.
CpuDevice& cpuDevice();

}  // namespace figment
