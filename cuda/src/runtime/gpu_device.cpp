// Memory and the plain way to run a program: for each record, point its operands at this run's
// memory and queue its kernels.
#include "gpu_device.h"

#include <algorithm>
#include <cstring>

#include "check.h"
#include "runtime/shortage.h"

namespace figment::cuda {
namespace {

// The allocator's source knows no device, so it allocates on the calling thread's, which select()
// has set.
void* deviceAllocate(uint64_t bytes) {
  void* block = nullptr;
  const cudaError_t status = cudaMalloc(&block, size_t(bytes));
  if (status == cudaSuccess) return block;
  cudaGetLastError();  // the failure is reported; it must not reach the next launch
  if (status != cudaErrorMemoryAllocation) check(status, "allocating");
  return nullptr;
}
void deviceRelease(void* block) { cudaFree(block); }
constexpr MemorySource kDeviceMemory = {deviceAllocate, deviceRelease};

void* pinnedAllocate(uint64_t bytes) {
  void* block = nullptr;
  if (cudaMallocHost(&block, size_t(bytes)) == cudaSuccess) return block;
  cudaGetLastError();
  return nullptr;
}
void pinnedRelease(void* block) { cudaFreeHost(block); }
constexpr MemorySource kPinnedMemory = {pinnedAllocate, pinnedRelease};

/// Memory that the driver, other programs and transfers keep, besides what is ours.
constexpr uint64_t kReserve = uint64_t(512) << 20;
/// Bytes on their way at once; what exceeds them goes the slower way.
constexpr uint64_t kMostPinned = uint64_t(256) << 20;
constexpr uint64_t kMostInTransit = uint64_t(128) << 20;

}  // namespace

GpuDevice::GpuDevice(int index)
    : index_(index),
      gpu_(gpus()[size_t(index)]),
      allocator_(kDeviceMemory),
      pinned_(kPinnedMemory, kMostPinned),
      transit_(kDeviceMemory, kMostInTransit) {
  select();
  setMemoryLimit(0);
  for (cudaStream_t* stream : {&stream_, &uploads_, &downloads_})
    check(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking), "creating a stream");
  check(cudaMalloc(reinterpret_cast<void**>(&failure_), sizeof(DeviceFailure)), "allocating");
  check(cudaMalloc(reinterpret_cast<void**>(&arrivals_), kMostLaunches * sizeof *arrivals_),
        "allocating");
  check(cudaMemsetAsync(arrivals_, 0, kMostLaunches * sizeof *arrivals_, stream_),
        "clearing memory");
  check(cudaMallocHost(reinterpret_cast<void**>(&hostFailure_), sizeof(DeviceFailure)),
        "allocating pinned memory");
  for (cudaEvent_t* event : {&pace_[0], &pace_[1], &link_})
    check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "creating an event");
  resetFailure();
}

void GpuDevice::select() const { check(cudaSetDevice(gpu_.ordinal), "selecting the GPU"); }

void GpuDevice::setMemoryLimit(uint64_t bytes) {
  if (bytes == 0) {
    size_t free = 0, total = 0;
    check(cudaMemGetInfo(&free, &total), "asking for free memory");
    const MemoryCounters ours = allocator_.counters();
    const uint64_t usable = free + ours.inUse + ours.cached;
    bytes = usable > 2 * kReserve ? usable - kReserve : usable;
  }
  allocator_.setLimit(bytes);
}

void* GpuDevice::allocate(uint64_t bytes) {
  select();
  void* block = allocator_.allocate(bytes);
  if (block && poison_.load(std::memory_order_relaxed)) {
    // By any thread, so not while a run is being recorded on the stream.
    std::lock_guard lock(recording_);
    poison(block, bytes);
  }
  return block;
}

void GpuDevice::poison(void* memory, uint64_t bytes) {
  // 0xff in every byte is a NaN in every float format, and −1 in every integer one.
  check(cudaMemsetAsync(memory, 0xff, size_t(bytes), stream_), "filling memory");
}

bool GpuDevice::reserve(Workspace& workspace, uint64_t bytes) {
  if (bytes <= workspace.bytes) return true;
  drop(workspace);
  workspaces_++;
  workspace.data = static_cast<std::byte*>(allocator_.allocateWorkspace(bytes));
  if (!workspace.data) return false;
  workspace.bytes = bytes;
  return true;
}

void GpuDevice::drop(Workspace& workspace) {
  if (workspace.data) allocator_.releaseWorkspace(workspace.data, workspace.bytes);
  workspace = {};
}

void GpuDevice::trim() {
  select();
  synchronise();
  drop(arena_);
  drop(scratch_);
  pinned_.trim();
  transit_.trim();
  workspaces_++;
  {
    std::lock_guard lock(holding_);
    for (GpuProgram* program : holders_) freeRecordings(*program);
    holders_.clear();
  }
  allocator_.trim();
}

void GpuDevice::freeRecordings(GpuProgram& program) {
  program.recordings.clear();
  if (std::byte* fixed = program.fixed.exchange(nullptr)) release(fixed, program.fixedBytes);
}

void GpuDevice::forgetRecordings(GpuProgram& program) {
  std::lock_guard lock(holding_);
  std::erase(holders_, &program);
  freeRecordings(program);
}

bool GpuDevice::claim(const GpuProgram& program) {
  select();
  const uint64_t fixed = program.fixed || !program.recordable ? 0 : program.fixedBytes;
  const auto claimed = [&](uint64_t scratch, uint64_t places) {
    return allocator_.claimWorkspace(CachingAllocator::blockBytes(program.program->arenaBytes) +
                                     CachingAllocator::blockBytes(scratch) +
                                     CachingAllocator::blockBytes(places));
  };
  // Without room for scratch of their own records follow one another; without room for fixed places
  // the program runs as it is, unrecorded.
  return claimed(program.scratchBytes, fixed) || claimed(program.leastScratch, fixed) ||
         (fixed > 0 && claimed(program.leastScratch, 0));
}

void GpuDevice::uploadNumbers(const GpuProgram& program, const FigmentRun& run) {
  const size_t count = program.program->inputBytes.size();
  uint64_t numbers[64];
  size_t first = 0, pending = 0;  // numbers of neighbours go in one transfer
  const auto flush = [&] {
    if (pending > 0)
      check(cudaMemcpyAsync(program.block + program.parametersAt + 8 * first, numbers, 8 * pending,
                            cudaMemcpyHostToDevice, stream_),
            "uploading numbers");
    pending = 0;
  };
  for (size_t i = 0; run.host_inputs && i < count; i++) {
    if (!run.host_inputs[i]) {
      flush();
      continue;
    }
    if (pending == 64) flush();
    if (pending == 0) first = i;
    std::memcpy(&numbers[pending++], run.inputs[i], 8);
  }
  flush();
}

void GpuDevice::bindSlots(const GpuProgram& program, const FigmentRun& run) {
  const Program& p = *program.program;
  bases_.resize(std::max(bases_.size(), p.slots.size()));
  for (size_t s = 0; s < p.slots.size(); s++) {
    const format::Slot& slot = p.slots[s];
    const uint32_t n = slot.ordinal;
    void* base = nullptr;
    switch (slot.kind) {
      case format::SlotKind::input:
        base = run.host_inputs && run.host_inputs[n] ? program.block + program.parametersAt + 8 * n
                                                     : run.inputs[n];
        break;
      case format::SlotKind::output:
        base = run.outputs[n];
        break;
      case format::SlotKind::state:
        base = run.states[n];
        break;
      case format::SlotKind::arena:
        base = arena_.data + slot.offset;
        break;
      case format::SlotKind::constant:
        base = program.block + slot.offset;
        break;
    }
    bases_[s] = static_cast<std::byte*>(base);
  }
}

RunResult GpuDevice::run(GpuProgram& program, const FigmentRun& run) {
  committing_ = false;
  try {
    return runOnce(program, run);
  } catch (const Error& error) {
    if (!committing_) throw;
    return {RunOutcome::failedInCommit, error.code(), error.message()};
  } catch (const std::bad_alloc&) {
    if (!committing_) throw;
    return {RunOutcome::failedInCommit, code::kOutOfMemory, "out of memory on the GPU"};
  }
}

RunResult GpuDevice::runOnce(GpuProgram& program, const FigmentRun& run) {
  select();
  const Program& p = *program.program;
  const uint64_t scratch = program.leastScratch;
  const auto reserveBoth = [&](uint64_t bytes) {
    return reserve(arena_, p.arenaBytes) && reserve(scratch_, bytes);
  };
  if (!reserveBoth(program.scratchBytes)) {
    trim();
    program.scratchBytes = scratch;
    if (!reserveBoth(scratch))
      return {RunOutcome::failed, code::kOutOfMemory,
              describeShortage(RunRoom{0, p.arenaBytes, scratch}, allocator_.counters())};
  }
  Launcher launcher(stream_, scratch_.data, failure_, gpu_.multiprocessors, gpu_.sharedPerBlock);
  launcher.setArrivals(arrivals_);
  launcher_ = std::make_unique<Launcher>(launcher);
  if (poison_.load(std::memory_order_relaxed) && p.arenaBytes > 0)
    poison(arena_.data, p.arenaBytes);
  if (!program.uploaded) {
    upload(program.block, p.constants, program.constantBytes);
    program.uploaded = true;
  }
  if (program.fallible) resetFailure();
  // Asked once: somebody may begin to profile, or stop, in the middle.
  timing_ = timeline_.active() != nullptr;
  if (!timing_ && program.recordable && program.runs > 0) return replay(program, run);

  forgetTimes();  // of a run that threw
  const double start = timing_ ? Timeline::now() : 0;
  if (timing_) synchronise();
  RunResult result = runPlainly(program, run);
  if (timing_) noteTimes(program, start);
  // One that came to its end: the driver has loaded every kernel, which it may not while recording.
  if (result.outcome == RunOutcome::done) program.runs++;
  return result;
}

RunResult GpuDevice::runPlainly(GpuProgram& program, const FigmentRun& run) {
  uploadNumbers(program, run);
  bindSlots(program, run);
  iterations_ = 0;
  const Program& p = *program.program;
  return runBlock(program, {0, uint32_t(p.records.size()), p.commitStart}, run, false);
}

RunResult GpuDevice::runBlock(GpuProgram& program, Block block, const FigmentRun& run,
                              bool committing) {
  Program& p = *program.program;
  const auto stopped = [&] { return !committing && run.poll && run.poll(run.poll_context); };
  for (uint32_t r = block.begin; r < block.end; r++) {
    if (r <= block.commitStart && stopped()) return {RunOutcome::aborted, {}, {}};
    // What has been found must be known before state is written.
    if (r == block.commitStart && program.fallible) {
      RunResult found =
          foundFailure(p, committing ? RunOutcome::failedInCommit : RunOutcome::failed);
      if (found.outcome != RunOutcome::done) return found;
    }
    if (r == block.commitStart) committing_ = true;
    const ProgramRecord& record = p.records[r];
    if (record.op) {
      runRecord(program, r);
      continue;
    }
    const uint32_t first = r + 1;
    const Block body = {first, first + record.repeat.records, first + record.repeat.commitStart};
    for (int64_t i = 0; i < record.repeat.count; i++) {
      if (stopped()) return {RunOutcome::aborted, {}, {}};
      if (record.operandCount > 0) {
        const Place& place = p.places[record.operandStart];
        launcher_->setRecord(r, "repeat");
        launcher_->setCounter(bases_[place.slot] + place.byteOffset, int32_t(i));
      }
      RunResult result = runBlock(program, body, run, committing);
      if (result.outcome != RunOutcome::done) return result;
      committing_ = committing;  // the iteration is complete
      if (run.poll) paceIterations();
    }
    r += record.repeat.records;
  }
  if (!program.fallible) return {};
  const bool committed = block.commitStart < block.end;
  return foundFailure(p, committed ? RunOutcome::failedInCommit : RunOutcome::failed);
}

void GpuDevice::bindOperands(GpuProgram& program, uint32_t index) {
  Program& p = *program.program;
  const ProgramRecord& record = p.records[index];
  for (uint32_t i = record.operandStart; i < record.operandStart + record.operandCount; i++)
    p.operands[i].data = bases_[p.places[i].slot] + p.places[i].byteOffset;
}

void GpuDevice::runRecord(GpuProgram& program, uint32_t index) {
  bindOperands(program, index);
  const ProgramRecord& record = program.program->records[index];
  launcher_->setRecord(index, record.opName());
  if (!timing_) return record.choice.variant->run(record.call, *launcher_);
  TimedRecord& times = timed_.emplace_back(TimedRecord{index, nullptr, nullptr});
  check(cudaEventCreate(&times.begin), "creating an event");
  check(cudaEventCreate(&times.end), "creating an event");
  check(cudaEventRecord(times.begin, stream_), "recording an event");
  record.choice.variant->run(record.call, *launcher_);
  check(cudaEventRecord(times.end, stream_), "recording an event");
}

/// Keeps the host at most two iterations ahead, so that a run that is to stop does.
void GpuDevice::paceIterations() {
  cudaEvent_t& event = pace_[iterations_ % 2];
  if (iterations_ >= 2) check(cudaEventSynchronize(event), "waiting for an iteration");
  check(cudaEventRecord(event, stream_), "recording an event");
  iterations_++;
}

void GpuDevice::resetFailure() {
  check(cudaMemsetAsync(failure_, 0, sizeof(DeviceFailure), stream_), "clearing failures");
}

RunResult GpuDevice::foundFailure(const Program& program, RunOutcome outcome) {
  download(failure_, hostFailure_, sizeof(DeviceFailure));
  if (!hostFailure_->set) return {};
  const ProgramRecord& record = program.records[hostFailure_->record];
  FailureText text = describeFailure(record.opName(), record.call, *hostFailure_);
  return {outcome, text.code, std::move(text.message)};
}

void GpuDevice::forgetTimes() {
  for (const TimedRecord& times : timed_) {
    if (times.begin) cudaEventDestroy(times.begin);
    if (times.end) cudaEventDestroy(times.end);
  }
  timed_.clear();
}

void GpuDevice::noteTimes(const GpuProgram& program, double startMicros) {
  synchronise();
  Timeline* timeline = timeline_.active();
  const Program& p = *program.program;
  for (const TimedRecord& times : timed_) {
    float sinceFirst = 0, length = 0;
    check(cudaEventElapsedTime(&sinceFirst, timed_[0].begin, times.begin), "reading an event");
    check(cudaEventElapsedTime(&length, times.begin, times.end), "reading an event");
    const ProgramRecord& record = p.records[times.index];
    if (timeline)
      timeline->add({EventKind::record, 0, p.id, times.index, record.tag, record.opName(),
                     record.variantName(), startMicros + 1e3 * double(sinceFirst),
                     1e3 * double(length)});
  }
  forgetTimes();
  if (timeline)
    timeline->add({EventKind::run, 0, p.id, 0, 0, nullptr, nullptr, startMicros,
                   Timeline::now() - startMicros});
}

GpuDevice& gpuDevice(int index) {
  static auto* const devices = new std::vector<std::unique_ptr<GpuDevice>>(gpus().size());
  if (index < 0 || size_t(index) >= devices->size())
    throw Error(code::kDevice, "there is no GPU " + std::to_string(index) + "; there are " +
                                   std::to_string(devices->size()));
  std::unique_ptr<GpuDevice>& device = (*devices)[size_t(index)];
  if (!device) device = std::make_unique<GpuDevice>(index);
  return *device;
}

}  // namespace figment::cuda
