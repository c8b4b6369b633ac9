// A GPU as a device: one stream for all that touches tensors, one allocator, one arena, and the
// executor that queues verified programs on them. run() returns when the work is queued: order on
// the stream is what makes the memory of one run safe from the next. Members other than the
// allocator's need exclusive use.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include "gpu_program.h"
#include "gpus.h"
#include "launcher.h"
#include "recorded_launches.h"
#include "runtime/allocator.h"
#include "runtime/run_result.h"
#include "runtime/timeline.h"
#include "staging.h"

namespace figment::cuda {

/// A place behind all that has been queued on a device's streams.
struct DeviceEvent {
  DeviceEvent();
  ~DeviceEvent();

  cudaEvent_t on[2] = {};  ///< the stream of downloads, and that of tensors
};

class GpuDevice {
 public:
  explicit GpuDevice(int index);

  const Gpu& gpu() const { return gpu_; }
  CachingAllocator& allocator() { return allocator_; }
  void* allocate(uint64_t bytes);
  void release(void* memory, uint64_t bytes) { allocator_.release(memory, bytes); }
  void setMemoryLimit(uint64_t bytes);
  /// From and to what allocatePinned gave they are queued; else they are done when they return.
  void upload(void* to, const void* from, uint64_t bytes);
  void download(const void* from, void* to, uint64_t bytes);
  /// Null when there is no more; by any thread, as its release.
  void* allocatePinned(uint64_t bytes);
  void releasePinned(void* memory) { pinned_.release(memory); }
  std::unique_ptr<DeviceEvent> recordEvent();
  /// By any thread.
  void wait(const DeviceEvent& event) const;
  void synchronise();
  /// Gives workspaces and cached blocks back to the driver.
  void trim();
  void setPoison(bool on) { poison_ = on; }

  bool claim(const GpuProgram& program);
  /// Frees a program's recordings and the fixed places that they use.
  void forgetRecordings(GpuProgram& program);
  RunResult run(GpuProgram& program, const FigmentRun& run);
  /// Microseconds of each candidate for a record, negative for one that fails.
  std::vector<double> measure(const ProgramRecord& record);
  /// What multiply-adds and copies reach on this GPU.
  std::vector<FigmentCeiling> measureCeilings();

  Timeline& timeline() { return timeline_; }
  /// Makes this the calling thread's device.
  void select() const;

 private:
  struct Workspace {
    std::byte* data = nullptr;
    uint64_t bytes = 0;
  };
  struct Block {
    uint32_t begin, end, commitStart;
  };
  struct TimedRecord {
    uint32_t index;
    cudaEvent_t begin, end;
  };

  void order(cudaStream_t earlier, cudaStream_t later);
  bool reserve(Workspace& workspace, uint64_t bytes);
  void drop(Workspace& workspace);
  void bindSlots(const GpuProgram& program, const FigmentRun& run);
  void bindFixedSlots(const GpuProgram& program, const FigmentRun& run);
  void uploadNumbers(const GpuProgram& program, const FigmentRun& run);
  RunResult runOnce(GpuProgram& program, const FigmentRun& run);
  void freeRecordings(GpuProgram& program);
  RunResult runPlainly(GpuProgram& program, const FigmentRun& run);
  RunResult runBlock(GpuProgram& program, Block block, const FigmentRun& run, bool committing);
  void bindOperands(GpuProgram& program, uint32_t index);
  void runRecord(GpuProgram& program, uint32_t index);
  RunResult replay(GpuProgram& program, const FigmentRun& run);
  Recording& recordingFor(GpuProgram& program, const FigmentRun& run);
  void record(GpuProgram& program, RecordedPart& part);
  void launchBlock(GpuProgram& program, uint32_t begin, uint32_t end, RecordedLaunches& launches);
  void resetFailure();
  /// Waits, and answers what kernels have found; done when nothing.
  RunResult foundFailure(const Program& program, RunOutcome outcome);
  void forgetTimes();
  void noteTimes(const GpuProgram& program, double startMicros);
  void paceIterations();
  void poison(void* memory, uint64_t bytes);

  const int index_;
  const Gpu& gpu_;
  CachingAllocator allocator_;
  cudaStream_t stream_ = nullptr;
  cudaStream_t uploads_ = nullptr, downloads_ = nullptr;  // between the host and staging memory
  cudaEvent_t link_ = nullptr;
  StagingPool pinned_, transit_;  // on the host, and on the device
  Workspace arena_, scratch_;
  uint64_t workspaces_ = 0;  // changes whenever one of them moves
  DeviceFailure* failure_ = nullptr;
  uint32_t* arrivals_ = nullptr;  // a word for each launch of a recording
  DeviceFailure* hostFailure_ = nullptr;
  std::unique_ptr<Launcher> launcher_;
  std::vector<std::byte*> bases_;
  std::atomic<bool> poison_{false};
  std::mutex recording_;  // held while the stream is captured
  std::mutex holding_;
  std::vector<GpuProgram*> holders_;  // of fixed places; under holding_
  bool committing_ = false;           // whether the current run may have written state
  Timeline timeline_;
  bool timing_ = false;  // the running program's records
  std::vector<TimedRecord> timed_;
  cudaEvent_t pace_[2] = {};
  uint64_t iterations_ = 0;
  uint64_t uses_ = 0;
};

/// Throws Error when there is no such GPU. Never destroyed.
GpuDevice& gpuDevice(int index);

}  // namespace figment::cuda
