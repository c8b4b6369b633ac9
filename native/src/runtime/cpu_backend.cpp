// C functions over CpuDevice. Exceptions end here: they become a status and the calling thread's
// last error.
#include "cpu_backend.h"

#include <algorithm>
#include <cstring>

#include "backend_calls.h"
#include "ceilings.h"
#include "cpu_device.h"
#include "cpu_features.h"
#include "machine.h"
#include "measure.h"

namespace figment {
namespace {

// FigmentDevice and FigmentProgram are only ever these types on the CPU.
CpuDevice& unwrap(FigmentDevice* device) { return *reinterpret_cast<CpuDevice*>(device); }
DescribedProgram& unwrap(FigmentProgram* program) {
  return *reinterpret_cast<DescribedProgram*>(program);
}

int32_t deviceCount() { return 1; }

FigmentStatus openDevice(int32_t index, FigmentDevice** device) {
  return guarded([&] {
    if (index != 0) throw Error(code::kDevice, "there is one CPU device");
    *device = reinterpret_cast<FigmentDevice*>(&cpuDevice());
    return FIGMENT_OK;
  });
}

FigmentStatus deviceInfo(FigmentDevice*, FigmentDeviceInfo* info) {
  return guarded([&] {
    info->kind = "cpu";
    info->name = cpuFeatures().name.c_str();
    info->memory_bytes = usableMemory();
    info->isa = isaName(isaLimit());
    return FIGMENT_OK;
  });
}

FigmentStatus allocate(FigmentDevice* device, uint64_t bytes, void** memory) {
  *memory = unwrap(device).allocate(bytes);
  if (*memory) return FIGMENT_OK;
  return guarded([&] {
    return report(FIGMENT_OUT_OF_MEMORY, code::kOutOfMemory,
                  "cannot allocate " + std::to_string(bytes) + " bytes on the CPU");
  });
}

void release(FigmentDevice* device, void* memory, uint64_t bytes) {
  unwrap(device).release(memory, bytes);
}

void* exchange(FigmentDevice* device, void* memory, uint64_t bytes) {
  return unwrap(device).exchange(memory, bytes);
}

FigmentStatus upload(FigmentDevice* device, void* to, uint64_t offset, const void* from,
                     uint64_t bytes) {
  unwrap(device).overwrite(to);
  if (bytes > 0) std::memcpy(static_cast<std::byte*>(to) + offset, from, size_t(bytes));
  return FIGMENT_OK;
}

FigmentStatus download(FigmentDevice*, const void* from, uint64_t offset, void* to,
                       uint64_t bytes) {
  if (bytes > 0) std::memcpy(to, static_cast<const std::byte*>(from) + offset, size_t(bytes));
  return FIGMENT_OK;
}

FigmentStatus memoryInfo(FigmentDevice* device, FigmentMemoryInfo* info) {
  return describeMemory(unwrap(device).allocator().counters(), unwrap(device).packedBytes(), info);
}

FigmentStatus setMemoryLimit(FigmentDevice* device, uint64_t bytes) {
  unwrap(device).allocator().setLimit(bytes > 0 ? bytes : usableMemory());
  return FIGMENT_OK;
}

void trim(FigmentDevice* device) { unwrap(device).trim(); }

void setPoison(FigmentDevice* device, int32_t on) { unwrap(device).setPoison(on != 0); }

FigmentStatus load(FigmentDevice* device, const void* blob, uint64_t bytes, const char* variant,
                   FigmentProgram** program) {
  return guarded([&] {
    auto loaded = std::make_unique<DescribedProgram>(
        loadProgram(blob, size_t(bytes), variant ? variant : ""));
    for (const int threads : {1, unwrap(device).threads()}) loaded->program->scratchBytes(threads);
    *program = reinterpret_cast<FigmentProgram*>(loaded.release());
    return FIGMENT_OK;
  });
}

void releaseProgram(FigmentProgram* program) { delete &unwrap(program); }

FigmentStatus programInfo(FigmentProgram* program, FigmentProgramInfo* info) {
  return describe(unwrap(program), info);
}

uint64_t recordFallbacks(FigmentProgram* program, uint32_t record) {
  return unwrap(program).program->fallbacks[record].load(std::memory_order_relaxed);
}

int32_t recordPacking(FigmentProgram* program, uint32_t record, FigmentPackingInfo* info) {
  const ProgramPacking* packing = unwrap(program).program->records[record].packing;
  if (!packing) return 0;
  info->bytes = packing->packing.bytes;
  info->packed = packing->packed.load(std::memory_order_relaxed);
  info->reused = packing->reused.load(std::memory_order_relaxed);
  return 1;
}

FigmentStatus run(FigmentDevice* device, FigmentProgram* program, const FigmentRun* run) {
  return guarded([&]() -> FigmentStatus {
    Timeline* timeline = unwrap(device).timeline().active();
    const double start = timeline ? Timeline::now() : 0;
    const RunResult result =
        unwrap(device).run(*unwrap(program).program, {run->inputs, run->outputs, run->states},
                           {(run->flags & FIGMENT_RUN_SERIAL) != 0, run->poll, run->poll_context});
    if (timeline)
      timeline->add({EventKind::run, 0, unwrap(program).program->id, 0, 0, nullptr, nullptr, start,
                     Timeline::now() - start});
    return report(result);
  });
}

FigmentStatus claimProgram(FigmentDevice* device, FigmentProgram* program) {
  return guarded([&]() -> FigmentStatus {
    if (unwrap(device).claim(*unwrap(program).program)) return FIGMENT_OK;
    return report(FIGMENT_OUT_OF_MEMORY, code::kOutOfMemory, "no room for temporaries");
  });
}

uint64_t scratchBytes(FigmentProgram* program) {
  return unwrap(program).program->knownScratchBytes();
}

void withdrawClaims(FigmentDevice* device) { unwrap(device).allocator().withdrawClaims(); }

FigmentStatus synchronise(FigmentDevice*) { return FIGMENT_OK; }

void setProfiling(FigmentDevice* device, int32_t on) {
  Timeline& timeline = unwrap(device).timeline();
  on ? timeline.on() : timeline.off();
}

uint64_t readProfile(FigmentDevice* device, uint64_t since,
                     void (*sink)(void* context, const FigmentTiming*), void* context) {
  return sendTimings(unwrap(device).timeline(), since, sink, context);
}

FigmentStatus recordChoice(FigmentProgram* program, uint32_t record, FigmentChoice* choice) {
  const DescribedProgram& loaded = unwrap(program);
  return describeChoice(loaded, record, measurable(loaded.program->records[record]), choice);
}

FigmentStatus measureRecord(FigmentDevice* device, FigmentProgram* program, uint32_t index,
                            double* micros) {
  return guarded([&] {
    const std::vector<double> times =
        measureCandidates(unwrap(device), unwrap(program).program->records[index]);
    std::copy(times.begin(), times.end(), micros);
    return FIGMENT_OK;
  });
}

FigmentStatus ceilings(FigmentDevice*, int32_t threads,
                       void (*sink)(void* context, const FigmentCeiling*), void* context) {
  return guarded([&] {
    const Ceilings found = measureCeilings(threads);
    for (const auto& [isa, gflops] : found.fma) {
      const FigmentCeiling ceiling = {isa, 0, gflops};
      sink(context, &ceiling);
    }
    for (const auto& [bytes, gbps] : found.copy) {
      const FigmentCeiling ceiling = {nullptr, bytes, gbps};
      sink(context, &ceiling);
    }
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
  backend.exchange = exchange;
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
  backend.scratch_bytes = scratchBytes;
  backend.record_fallbacks = recordFallbacks;
  backend.record_choice = recordChoice;
  backend.measure_record = measureRecord;
  backend.record_packing = recordPacking;
  backend.measure_ceilings = ceilings;
  return backend;
}

}  // namespace

const FigmentBackend& cpuBackend() {
  static const FigmentBackend backend = makeBackend();
  return backend;
}

}  // namespace figment
