// The executor: for each record, point its operands at this run's memory and call its kernel.
#include "cpu_device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "error.h"
#include "kernels/fallbacks.h"
#include "machine.h"
#include "shortage.h"

namespace figment {
namespace {

/// A quiet NaN whose payload reads "dead" in a debugger.
constexpr uint32_t kPoison = 0x7fc0dead;

void poison(void* memory, uint64_t bytes) {
  std::fill_n(static_cast<uint32_t*>(memory), bytes / sizeof(kPoison), kPoison);
  std::memset(static_cast<std::byte*>(memory) + bytes / sizeof(kPoison) * sizeof(kPoison), 0xde,
              bytes % sizeof(kPoison));
}

/// Behind the scratch that a kernel asked for, where memory is poisoned.
constexpr uint64_t kGuardBytes = 64;
/// What stands where nothing may be written.
constexpr std::byte kGuard{0xde};
bool isWhole(const std::byte* guard, uint64_t bytes) {
  return std::all_of(guard, guard + bytes, [](std::byte b) { return b == kGuard; });
}

}  // namespace

/// What kernels see of a run.
class RunContext final : public Context {
 public:
  RunContext(ThreadPool& pool, std::byte* scratch, int threads, const RunControl& control)
      : pool_(pool), scratch_(scratch), threads_(threads), control_(control) {}

  /// Once the run is to stop, the pieces that nobody has begun are left out: what they would have
  /// written is never read.
  void parallel(int64_t count, int64_t grain, Body body, void* closure) override {
    Region region = {*this, body, closure};
    share(count, grain, timeline ? timedPiece : piece, &region);
  }
  int threads() const override { return threads_; }
  std::byte* scratch() const override { return scratch_; }
  void fail(const char* code, const std::string& message) override {
    std::lock_guard lock(mutex_);
    if (failed_.load(std::memory_order_relaxed)) return;
    code_ = code;
    message_ = message;
    failed_.store(true, std::memory_order_release);
  }

  void countFallbacks(int64_t pieces) {
    if (pieces > 0) fallbacks->fetch_add(uint64_t(pieces), std::memory_order_relaxed);
  }

  bool failed() const { return failed_.load(std::memory_order_acquire); }
  const std::string& code() const { return code_; }
  const std::string& message() const { return message_; }

  /// Whether somebody has asked the run to stop; stays true. Never asked while state is written.
  bool stopped() {
    if (stopped_.load(std::memory_order_relaxed)) return true;
    if (committing || !control_.poll || !control_.poll(control_.pollContext)) return false;
    stopped_.store(true, std::memory_order_relaxed);
    return true;
  }

  bool shared = false;                       ///< whether the current record may use the pool
  const std::byte* packedOperand = nullptr;  ///< of the current record
  bool committing = false;       ///< whether the current record belongs to a commit section
  Timeline* timeline = nullptr;  ///< where pieces are noted; null when nobody profiles
  TimelineEvent event = {};      ///< of the current record, while somebody profiles
  std::atomic<uint64_t>* fallbacks = nullptr;  ///< those of the current record

 private:
  struct Region {
    RunContext& context;
    Body body;
    void* closure;
  };
  static void piece(void* closure, int64_t begin, int64_t end, int worker) {
    const auto& region = *static_cast<Region*>(closure);
    if (!region.context.stopped()) region.body(region.closure, begin, end, worker);
  }
  static void timedPiece(void* closure, int64_t begin, int64_t end, int worker) {
    const auto& region = *static_cast<Region*>(closure);
    TimelineEvent event = region.context.event;
    event.kind = EventKind::piece;
    event.worker = uint32_t(worker);
    event.startMicros = Timeline::now();
    piece(closure, begin, end, worker);
    event.micros = Timeline::now() - event.startMicros;
    region.context.timeline->add(event);
  }
  void share(int64_t count, int64_t grain, Body body, void* closure) {
    if (shared) return pool_.parallel(count, grain, body, closure);
    for (int64_t begin = 0; begin < count; begin += grain)
      body(closure, begin, std::min(begin + grain, count), 0);
  }

  ThreadPool& pool_;
  std::byte* scratch_;
  int threads_;
  const RunControl& control_;
  std::atomic<bool> stopped_{false};
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  std::string code_;
  std::string message_;
};

// Measurements, which have a context of their own, count none.
void countFallbacks(Context& context, int64_t pieces) {
  if (auto* run = dynamic_cast<RunContext*>(&context)) run->countFallbacks(pieces);
}

const std::byte* packedOperand(const Context& context) {
  const auto* run = dynamic_cast<const RunContext*>(&context);
  return run ? run->packedOperand : nullptr;
}

std::atomic<bool>& emulatedTilesServe() {
  static std::atomic<bool> serve{false};
  return serve;
}

namespace {

int threadsFromEnvironment() {
  const char* text = std::getenv("FIGMENT_THREADS");
  if (!text || !*text) return std::min(usableCores(), ThreadPool::kMaxThreads);
  char* end = nullptr;
  const long threads = std::strtol(text, &end, 10);
  if (*end != '\0' || threads < 1 || threads > ThreadPool::kMaxThreads)
    throw Error(code::kArgument, std::string("FIGMENT_THREADS is \"") + text +
                                     "\"; expected a whole number from 1 to " +
                                     std::to_string(ThreadPool::kMaxThreads));
  return int(threads);
}

}  // namespace

CpuDevice::CpuDevice(int threads, uint64_t memoryLimit) : pool_(threads), threads_(threads) {
  allocator_.setLimit(memoryLimit);
}

void* CpuDevice::allocate(uint64_t bytes) {
  void* block = allocator_.allocate(bytes);
  if (block && poison_.load(std::memory_order_relaxed)) poison(block, bytes);
  return block;
}

void CpuDevice::release(void* memory, uint64_t bytes) {
  packed_.forget(memory);
  allocator_.release(memory, bytes);
}

void* CpuDevice::exchange(void* memory, uint64_t bytes) {
  // What was released holds numbers, and not the pattern of fresh blocks.
  return poison_.load(std::memory_order_relaxed) ? memory : allocator_.exchange(memory, bytes);
}

bool CpuDevice::claim(const Program& program) {
  return allocator_.claimWorkspace(CachingAllocator::blockBytes(program.arenaBytes) +
                                   CachingAllocator::blockBytes(program.knownScratchBytes()));
}

bool CpuDevice::reserve(Workspace& workspace, uint64_t bytes) {
  if (bytes <= workspace.bytes) return true;
  drop(workspace);
  // A larger program than any before: what is kept from preparing it, such as weights in another
  // format, need not stay beside it.
  allocator_.trim();
  // What fills most of a huge page gets one, unless memory is counted out.
  if (bytes > kHugePage / 2 && bytes < kHugePage && allocator_.counters().limit == 0)
    bytes = kHugePage;
  workspace.data = static_cast<std::byte*>(allocator_.allocateWorkspace(bytes));
  if (!workspace.data) return false;
  workspace.bytes = bytes;
  return true;
}

bool CpuDevice::reserveWorkspaces(uint64_t arenaBytes, uint64_t scratchBytes) {
  if (reserve(arena_, arenaBytes) && reserve(scratch_, scratchBytes)) return true;
  // Neither is needed between runs, and each may be larger than this program wants.
  trim();
  return reserve(arena_, arenaBytes) && reserve(scratch_, scratchBytes);
}

void CpuDevice::drop(Workspace& workspace) {
  if (workspace.data) allocator_.releaseWorkspace(workspace.data, workspace.bytes);
  workspace = {};
}

void CpuDevice::trim() {
  drop(arena_);
  drop(scratch_);
  packed_.clear();
  allocator_.trim();
}

void CpuDevice::bindSlots(const Program& program, const Bindings& bindings) {
  if (bases_.size() < program.slots.size()) bases_.resize(program.slots.size());
  for (size_t s = 0; s < program.slots.size(); s++) {
    const format::Slot& slot = program.slots[s];
    void* base = nullptr;
    switch (slot.kind) {
      case format::SlotKind::input:
        base = bindings.inputs[slot.ordinal];
        break;
      case format::SlotKind::output:
        base = bindings.outputs[slot.ordinal];
        break;
      case format::SlotKind::state:
        base = bindings.states[slot.ordinal];
        break;
      case format::SlotKind::arena:
        base = arena_.data + slot.offset;
        break;
      case format::SlotKind::constant:
        // Never written: the verifier refuses records that would.
        base = const_cast<std::byte*>(program.constants + slot.offset);
        break;
    }
    bases_[s] = static_cast<std::byte*>(base);
  }
}

void CpuDevice::guardOutputs(const Program& program) {
  behindOutputs_.clear();
  for (size_t s = 0; s < program.slots.size(); s++) {
    const format::Slot& slot = program.slots[s];
    if (slot.kind != format::SlotKind::output) continue;
    const uint64_t slack = CachingAllocator::blockBytes(slot.bytes) - slot.bytes;
    const Guard guard = {bases_[s] + slot.bytes, std::min(slack, kGuardBytes)};
    std::fill_n(guard.from, guard.bytes, kGuard);
    behindOutputs_.push_back(guard);
  }
}

RunResult CpuDevice::run(Program& program, const Bindings& bindings, const RunControl& control) {
  if (const int wanted = threads(); wanted != pool_.threads()) pool_.resize(wanted);
  const int threads = control.serial ? 1 : pool_.threads();
  guarded_ = poison_.load(std::memory_order_relaxed);
  const uint64_t guard = guarded_ ? kGuardBytes : 0;
  if (!reserveWorkspaces(program.arenaBytes, program.scratchBytes(threads) + guard))
    return {RunOutcome::failed, code::kOutOfMemory,
            describeShortage(RunRoom{0, program.arenaBytes, program.scratchBytes(threads)},
                             allocator_.counters())};
  if (guarded_) {
    if (program.arenaBytes > 0) poison(arena_.data, program.arenaBytes);
    askScratch(program, threads);
  }
  bindSlots(program, bindings);
  if (guarded_) guardOutputs(program);

  if (packed_.bytes() > 0) {
    for (size_t s = 0; s < program.stateWritten.size(); s++)
      if (program.stateWritten[s]) packed_.forget(bindings.states[s]);
  }

  RunContext context(pool_, scratch_.data, threads, control);
  context.timeline = timeline_.active();
  return runBlock(program, {0, uint32_t(program.records.size()), program.commitStart}, control,
                  context);
}

/// As when the program was loaded, before its operands had addresses.
void CpuDevice::askScratch(Program& program, int threads) {
  for (Operand& operand : program.operands) operand.data = nullptr;
  asked_.assign(program.records.size(), 0);
  for (size_t r = 0; r < program.records.size(); r++) {
    const RegisteredVariant* variant = program.records[r].choice.variant;
    if (variant && variant->scratch) asked_[r] = variant->scratch(program.records[r].call, threads);
  }
}

RunResult CpuDevice::runBlock(Program& program, Block block, const RunControl& control,
                              RunContext& context) {
  const bool committing = context.committing;
  for (uint32_t r = block.begin; r < block.end; r++) {
    if (r <= block.commitStart) {
      context.committing = committing;
      // First, because what a stopped kernel leaves may make another one fail.
      if (context.stopped()) return {RunOutcome::aborted, {}, {}};
      if (context.failed()) return {RunOutcome::failed, context.code(), context.message()};
      context.committing = committing || r == block.commitStart;
    }
    ProgramRecord& record = program.records[r];
    for (uint32_t i = record.operandStart; i < record.operandStart + record.operandCount; i++)
      program.operands[i].data = bases_[program.places[i].slot] + program.places[i].byteOffset;
    if (record.op) {
      runKernel(program, r, control, context);
      continue;
    }
    const uint32_t first = r + 1;
    const Block body = {first, first + record.repeat.records, first + record.repeat.commitStart};
    for (int64_t i = 0; i < record.repeat.count; i++) {
      if (context.stopped()) return {RunOutcome::aborted, {}, {}};
      if (record.operandCount > 0)
        *program.operands[record.operandStart].as<int32_t>() = int32_t(i);
      RunResult result = runBlock(program, body, control, context);
      if (result.outcome != RunOutcome::done) return result;
    }
    r += record.repeat.records;
  }
  if (context.stopped()) return {RunOutcome::aborted, {}, {}};
  context.committing = committing;
  if (!context.failed()) return {};
  const bool committed = block.commitStart < block.end;
  return {committed ? RunOutcome::failedInCommit : RunOutcome::failed, context.code(),
          context.message()};
}

void CpuDevice::runKernel(const Program& program, uint32_t index, const RunControl& control,
                          RunContext& context) {
  const ProgramRecord& record = program.records[index];
  context.shared = !control.serial && record.predictedMicros >= kSharedMicros;
  context.fallbacks = &program.fallbacks[index];
  if (context.timeline)
    context.event = {
        EventKind::record, 0, program.id, index, record.tag, record.opName(), record.variantName(),
        Timeline::now(),   0};
  try {
    context.packedOperand = record.packing ? packedOperand(program, record, context) : nullptr;
    std::byte* const behindScratch = guarded_ ? scratch_.data + asked_[index] : nullptr;
    if (behindScratch) std::fill_n(behindScratch, kGuardBytes, kGuard);
    record.choice.variant->run(record.call, context);
    const auto blame = [&](const std::string& place) {
      context.fail(code::kLibrary, std::string("the kernel ") + record.variantName() + " of " +
                                       record.opName() + " wrote behind " + place);
    };
    if (behindScratch && !isWhole(behindScratch, kGuardBytes))
      blame("the " + std::to_string(asked_[index]) + " bytes of scratch that it asked for");
    if (guarded_)
      for (const Guard& guard : behindOutputs_)
        if (!isWhole(guard.from, guard.bytes)) blame("a result of the program");
  } catch (const Error& error) {
    context.fail(error.code().c_str(), error.message());
  } catch (const std::bad_alloc&) {
    context.fail(code::kOutOfMemory, std::string(record.opName()) + ": out of memory");
  } catch (const std::exception& error) {
    context.fail(code::kDevice, std::string(record.opName()) + ": " + error.what());
  }
  if (!context.timeline) return;
  context.event.micros = Timeline::now() - context.event.startMicros;
  context.timeline->add(context.event);
}

const std::byte* CpuDevice::packedOperand(const Program& program, const ProgramRecord& record,
                                          RunContext& context) {
  ProgramPacking& use = *record.packing;
  const Place& place = program.places[record.operandStart + uint32_t(use.packing.operand)];
  PackedCopy* copy = packed_.copyOf(
      bases_[place.slot], {place.byteOffset, record.opName(), record.variantName(), use.packing});
  if (!copy) return nullptr;
  if (copy->ready) {
    use.reused.fetch_add(1, std::memory_order_relaxed);
    return copy->data;
  }
  record.choice.variant->packer->pack(record.call, copy->data, context);
  // A run that is to stop may have left pieces out.
  copy->ready = !context.stopped();
  use.packed.fetch_add(1, std::memory_order_relaxed);
  return copy->data;
}

CpuDevice& cpuDevice() {
  static CpuDevice* const device = new CpuDevice(threadsFromEnvironment(), usableMemory());
  return *device;
}

}  // namespace figment
