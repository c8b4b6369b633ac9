// The C functions of the backend ABI over GpuDevice. Exceptions end here: they become a status and
// the calling thread's last error.
#include "figment/backend.h"

#include <cstring>
#include <new>
#include <string>

#include "gpu_device.h"
#include "kernels/measured.h"
#include "runtime/error.h"
#include "runtime/instruction_sets.h"

namespace figment::cuda {
namespace {

thread_local std::string lastCode;
thread_local std::string lastMessage;
thread_local FigmentError lastError;

FigmentStatus report(FigmentStatus status, std::string code, std::string message) {
  lastCode = std::move(code);
  lastMessage = std::move(message);
  return status;
}

template <class F>
FigmentStatus guarded(F&& f) noexcept {
  try {
    return f();
  } catch (const Error& error) {
    const bool memory = error.code() == code::kOutOfMemory;
    return report(memory ? FIGMENT_OUT_OF_MEMORY : FIGMENT_FAILED, error.code(), error.message());
  } catch (const std::bad_alloc&) {
    return report(FIGMENT_OUT_OF_MEMORY, code::kOutOfMemory, "out of memory on the GPU");
  } catch (const std::exception& error) {
    return report(FIGMENT_FAILED, code::kDevice, error.what());
  }
}

GpuDevice& unwrap(FigmentDevice* device) { return *reinterpret_cast<GpuDevice*>(device); }
GpuProgram& unwrap(FigmentProgram* program) { return *reinterpret_cast<GpuProgram*>(program); }

const FigmentError* takeLastError() {
  lastError = {lastCode.c_str(), lastMessage.c_str()};
  return &lastError;
}

int32_t deviceCount() { return int32_t(gpus().size()); }

FigmentStatus openDevice(int32_t index, FigmentDevice** device) {
  return guarded([&] {
    *device = reinterpret_cast<FigmentDevice*>(&gpuDevice(index));
    return FIGMENT_OK;
  });
}

FigmentStatus deviceInfo(FigmentDevice* device, FigmentDeviceInfo* info) {
  info->kind = "cuda";
  info->name = unwrap(device).gpu().name.c_str();
  info->memory_bytes = unwrap(device).gpu().memoryBytes;
  info->isa = isaName(bestIsa());
  info->capability = uint32_t(unwrap(device).gpu().major * 10 + unwrap(device).gpu().minor);
  info->multiprocessors = uint32_t(unwrap(device).gpu().multiprocessors);
  return FIGMENT_OK;
}

FigmentStatus allocate(FigmentDevice* device, uint64_t bytes, void** memory) {
  return guarded([&] {
    *memory = unwrap(device).allocate(bytes);
    if (*memory) return FigmentStatus(FIGMENT_OK);
    return report(FIGMENT_OUT_OF_MEMORY, code::kOutOfMemory,
                  "cannot allocate " + std::to_string(bytes) + " bytes on the GPU");
  });
}

void release(FigmentDevice* device, void* memory, uint64_t bytes) {
  unwrap(device).release(memory, bytes);
}

FigmentStatus upload(FigmentDevice* device, void* to, uint64_t offset, const void* from,
                     uint64_t bytes) {
  return guarded([&] {
    unwrap(device).select();
    unwrap(device).upload(static_cast<std::byte*>(to) + offset, from, bytes);
    return FIGMENT_OK;
  });
}

FigmentStatus download(FigmentDevice* device, const void* from, uint64_t offset, void* to,
                       uint64_t bytes) {
  return guarded([&] {
    unwrap(device).select();
    unwrap(device).download(static_cast<const std::byte*>(from) + offset, to, bytes);
    return FIGMENT_OK;
  });
}

FigmentStatus memoryInfo(FigmentDevice* device, FigmentMemoryInfo* info) {
  const MemoryCounters counters = unwrap(device).allocator().counters();
  info->in_use = counters.inUse;
  info->cached = counters.cached;
  info->peak = counters.peak;
  info->system_allocations = counters.systemAllocations;
  info->limit = counters.limit;
  info->packed = 0;
  return FIGMENT_OK;
}

FigmentStatus setMemoryLimit(FigmentDevice* device, uint64_t bytes) {
  return guarded([&] {
    unwrap(device).select();
    unwrap(device).setMemoryLimit(bytes);
    return FIGMENT_OK;
  });
}

void trim(FigmentDevice* device) {
  guarded([&] {
    unwrap(device).trim();
    return FIGMENT_OK;
  });
}

void setPoison(FigmentDevice* device, int32_t on) { unwrap(device).setPoison(on != 0); }

FigmentStatus load(FigmentDevice* device, const void* blob, uint64_t bytes, const char* variant,
                   FigmentProgram** program) {
  return guarded([&] {
    auto verified = loadProgram(blob, size_t(bytes), variant ? variant : "");
    *program =
        reinterpret_cast<FigmentProgram*>(new GpuProgram(unwrap(device), std::move(verified)));
    return FIGMENT_OK;
  });
}

void releaseProgram(FigmentProgram* program) { delete &unwrap(program); }

FigmentStatus programInfo(FigmentProgram* handle, FigmentProgramInfo* info) {
  const GpuProgram& loaded = unwrap(handle);
  const Program& program = *loaded.program;
  info->input_count = uint32_t(program.inputBytes.size());
  info->output_count = uint32_t(program.outputBytes.size());
  info->state_count = uint32_t(program.stateBytes.size());
  info->input_bytes = program.inputBytes.data();
  info->output_bytes = program.outputBytes.data();
  info->state_bytes = program.stateBytes.data();
  info->state_written = program.stateWritten.data();
  info->arena_bytes = program.arenaBytes;
  info->predicted_micros = program.predictedMicros;
  info->id = program.id;
  info->record_count = uint32_t(loaded.records.size());
  info->records = loaded.records.data();
  return FIGMENT_OK;
}

FigmentStatus run(FigmentDevice* device, FigmentProgram* program, const FigmentRun* run) {
  return guarded([&]() -> FigmentStatus {
    const RunResult result = unwrap(device).run(unwrap(program), *run);
    switch (result.outcome) {
      case RunOutcome::done:
        return FIGMENT_OK;
      case RunOutcome::aborted:
        return FIGMENT_ABORTED;
      case RunOutcome::failedInCommit:
        return report(FIGMENT_FAILED_COMMIT, result.code, result.message);
      case RunOutcome::failed:
        break;
    }
    const bool memory = result.code == code::kOutOfMemory;
    return report(memory ? FIGMENT_OUT_OF_MEMORY : FIGMENT_FAILED, result.code, result.message);
  });
}

FigmentStatus claimProgram(FigmentDevice* device, FigmentProgram* program) {
  return guarded(
      [&] { return unwrap(device).claim(unwrap(program)) ? FIGMENT_OK : FIGMENT_OUT_OF_MEMORY; });
}

void withdrawClaims(FigmentDevice* device) { unwrap(device).allocator().withdrawClaims(); }

FigmentStatus synchronise(FigmentDevice* device) {
  return guarded([&] {
    unwrap(device).select();
    unwrap(device).synchronise();
    return FIGMENT_OK;
  });
}

void setProfiling(FigmentDevice* device, int32_t on) {
  Timeline& timeline = unwrap(device).timeline();
  on ? timeline.on() : timeline.off();
}

uint64_t readProfile(FigmentDevice* device, uint64_t since,
                     void (*sink)(void* context, const FigmentTiming*), void* context) {
  std::vector<TimelineEvent> events;
  const uint64_t first = unwrap(device).timeline().read(since, events);
  for (const TimelineEvent& event : events) {
    const FigmentTiming timing = {uint32_t(event.kind), event.worker,      event.program,
                                  event.record,         event.tag,         event.op,
                                  event.variant,        event.startMicros, event.micros};
    sink(context, &timing);
  }
  return first;
}

FigmentStatus recordChoice(FigmentProgram* handle, uint32_t index, FigmentChoice* choice) {
  const GpuProgram& loaded = unwrap(handle);
  const ProgramRecord& record = loaded.program->records[index];
  choice->reason = uint32_t(record.choice.reason);
  choice->measurable = !record.choice.candidates.empty();
  choice->candidate_count = uint32_t(loaded.candidates[index].size());
  choice->candidates = loaded.candidates[index].data();
  choice->key = record.choice.key.c_str();
  return FIGMENT_OK;
}

FigmentStatus measureRecord(FigmentDevice* device, FigmentProgram* program, uint32_t index,
                            double* micros) {
  return guarded([&] {
    const std::vector<double> times =
        unwrap(device).measure(unwrap(program).program->records[index]);
    std::copy(times.begin(), times.end(), micros);
    return FIGMENT_OK;
  });
}

void eachOp(void (*sink)(void* context, const char* op), void* context) {
  for (const RegisteredOp* op : registeredOps()) sink(context, op->spec.name);
}

void eachVariant(const char* name, void (*sink)(void*, const char*, const char*), void* context) {
  const RegisteredOp* op = findOp(name);
  if (!op) return;
  for (const RegisteredVariant& variant : op->variants)
    if (variant.isa <= bestIsa()) sink(context, variant.name, isaName(variant.isa));
}

FigmentStatus addMeasuredCall(const char* isaText, int32_t here, const char* key,
                              const char* variant) {
  return guarded([&] {
    Isa isa;
    if (!parseIsa(isaText, isa))
      throw Error(code::kArgument,
                  std::string("isa: expected sm75, sm80 or sm90a, not \"") + isaText + "\"");
    addMeasured(isa, here ? Origin::here : Origin::shipped, key, variant);
    return FIGMENT_OK;
  });
}

FigmentStatus measureCeilings(FigmentDevice* device, int32_t,
                              void (*sink)(void* context, const FigmentCeiling*), void* context) {
  return guarded([&] {
    for (const FigmentCeiling& ceiling : unwrap(device).measureCeilings()) sink(context, &ceiling);
    return FIGMENT_OK;
  });
}

FigmentBackend makeBackend() {
  FigmentBackend backend = {};
  backend.size = sizeof(FigmentBackend);
  backend.version = FIGMENT_BACKEND_ABI_VERSION;
  backend.last_error = takeLastError;
  backend.device_count = deviceCount;
  backend.open_device = openDevice;
  backend.device_info = deviceInfo;
  backend.allocate = allocate;
  backend.release = release;
  backend.upload = upload;
  backend.download = download;
  backend.memory_info = memoryInfo;
  backend.set_memory_limit = setMemoryLimit;
  backend.trim = trim;
  backend.set_poison = setPoison;
  backend.load_program = load;
  backend.release_program = releaseProgram;
  backend.program_info = programInfo;
  backend.run = run;
  backend.synchronise = synchronise;
  backend.set_profiling = setProfiling;
  backend.read_profile = readProfile;
  backend.claim_program = claimProgram;
  backend.withdraw_claims = withdrawClaims;
  backend.record_choice = recordChoice;
  backend.measure_record = measureRecord;
  backend.each_op = eachOp;
  backend.each_variant = eachVariant;
  backend.add_measured = addMeasuredCall;
  backend.measure_ceilings = measureCeilings;
  return backend;
}

}  // namespace
}  // namespace figment::cuda

extern "C" __attribute__((visibility("default"))) const FigmentBackend* figment_backend(
    uint32_t version, const char** reason) {
  using namespace figment::cuda;
  static const FigmentBackend backend = makeBackend();
  if (version != FIGMENT_BACKEND_ABI_VERSION) {
    *reason = "the addon speaks another version of the backend ABI";
    return nullptr;
  }
  if (!whyNoGpu().empty()) {
    *reason = whyNoGpu().c_str();
    return nullptr;
  }
  static std::string problem;
  try {
    figment::registeredOps();
  } catch (const std::exception& error) {
    problem = error.what();
    *reason = problem.c_str();
    return nullptr;
  }
  return &backend;
}
