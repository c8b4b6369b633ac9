// The C functions of the backend ABI over GpuDevice. Exceptions end here: they become a status and
// the calling thread's last error.
#include <algorithm>
#include <string>

#include "gpu_device.h"
#include "runtime/backend_calls.h"
#include "runtime/instruction_sets.h"

namespace figment::cuda {
namespace {

GpuDevice& unwrap(FigmentDevice* device) { return *reinterpret_cast<GpuDevice*>(device); }
GpuProgram& unwrap(FigmentProgram* program) { return *reinterpret_cast<GpuProgram*>(program); }
DeviceEvent* unwrap(FigmentEvent* event) { return reinterpret_cast<DeviceEvent*>(event); }

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

FigmentStatus recordEvent(FigmentDevice* device, FigmentEvent** event) {
  return guarded([&] {
    unwrap(device).select();
    *event = reinterpret_cast<FigmentEvent*>(unwrap(device).recordEvent().release());
    return FIGMENT_OK;
  });
}

FigmentStatus waitEvent(FigmentDevice* device, FigmentEvent* event) {
  return guarded([&] {
    unwrap(device).select();
    unwrap(device).wait(*unwrap(event));
    return FIGMENT_OK;
  });
}

void releaseEvent(FigmentEvent* event) { delete unwrap(event); }

FigmentStatus allocatePinned(FigmentDevice* device, uint64_t bytes, void** memory) {
  return guarded([&] {
    *memory = unwrap(device).allocatePinned(bytes);
    if (*memory) return FigmentStatus(FIGMENT_OK);
    return report(FIGMENT_OUT_OF_MEMORY, code::kOutOfMemory,
                  "cannot pin " + std::to_string(bytes) + " bytes of host memory");
  });
}

void releasePinned(FigmentDevice* device, void* memory) { unwrap(device).releasePinned(memory); }

FigmentStatus memoryInfo(FigmentDevice* device, FigmentMemoryInfo* info) {
  return describeMemory(unwrap(device).allocator().counters(), 0, info);
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

/// More than what callers run at once on their own thread.
constexpr double kWaitingMicros = 1000;

FigmentStatus programInfo(FigmentProgram* program, FigmentProgramInfo* info) {
  describe(unwrap(program), info);
  // Such a run waits for the device, which the event loop must not do.
  if (unwrap(program).fallible)
    info->predicted_micros = std::max(info->predicted_micros, kWaitingMicros);
  return FIGMENT_OK;
}

FigmentStatus run(FigmentDevice* device, FigmentProgram* program, const FigmentRun* run) {
  return guarded([&] { return report(unwrap(device).run(unwrap(program), *run)); });
}

FigmentStatus claimProgram(FigmentDevice* device, FigmentProgram* program) {
  return guarded([&]() -> FigmentStatus {
    if (unwrap(device).claim(unwrap(program))) return FIGMENT_OK;
    return report(FIGMENT_OUT_OF_MEMORY, code::kOutOfMemory, "no room for temporaries");
  });
}

uint64_t scratchBytes(FigmentProgram* program) { return unwrap(program).leastScratch; }

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
  return sendTimings(unwrap(device).timeline(), since, sink, context);
}

FigmentStatus recordChoice(FigmentProgram* program, uint32_t record, FigmentChoice* choice) {
  const GpuProgram& loaded = unwrap(program);
  const bool measurable = !loaded.candidates[record].empty();
  return describeChoice(loaded, record, measurable, choice);
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

FigmentStatus measureCeilings(FigmentDevice* device, int32_t,
                              void (*sink)(void* context, const FigmentCeiling*), void* context) {
  return guarded([&] {
    for (const FigmentCeiling& ceiling : unwrap(device).measureCeilings()) sink(context, &ceiling);
    return FIGMENT_OK;
  });
}

FigmentBackend makeBackend() {
  FigmentBackend backend = commonBackend();
  backend.device_count = deviceCount;
  backend.open_device = openDevice;
  backend.device_info = deviceInfo;
  backend.allocate = allocate;
  backend.release = release;
  backend.upload = upload;
  backend.download = download;
  backend.record_event = recordEvent;
  backend.wait_event = waitEvent;
  backend.release_event = releaseEvent;
  backend.allocate_pinned = allocatePinned;
  backend.release_pinned = releasePinned;
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
  backend.scratch_bytes = scratchBytes;
  backend.record_choice = recordChoice;
  backend.measure_record = measureRecord;
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
