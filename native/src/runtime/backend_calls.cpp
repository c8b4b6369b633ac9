#include "backend_calls.h"

#include "../kernels/measured.h"
#include "instruction_sets.h"

namespace figment {
namespace {

thread_local std::string lastCode;
thread_local std::string lastMessage;
thread_local FigmentError lastError;

const FigmentError* takeLastError() {
  lastError = {lastCode.c_str(), lastMessage.c_str()};
  return &lastError;
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
                  std::string("isa: expected an instruction set of this device, as ") +
                      isaName(bestIsa()) + " is, not \"" + isaText + "\"");
    addMeasured(isa, here ? Origin::here : Origin::shipped, key, variant);
    return FIGMENT_OK;
  });
}

}  // namespace

FigmentStatus report(FigmentStatus status, std::string code, std::string message) {
  lastCode = std::move(code);
  lastMessage = std::move(message);
  return status;
}

FigmentStatus report(const RunResult& result) {
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
}

DescribedProgram::DescribedProgram(std::unique_ptr<Program> verified)
    : program(std::move(verified)) {
  for (const ProgramRecord& record : program->records) {
    records.push_back(
        {record.opName(), record.variantName(), record.cost.flops, record.cost.bytes, record.tag});
    std::vector<const char*>& names = candidates.emplace_back();
    for (const RegisteredVariant* candidate : record.choice.candidates)
      names.push_back(candidate->name);
  }
}

FigmentStatus describe(const DescribedProgram& described, FigmentProgramInfo* info) {
  const Program& program = *described.program;
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
  info->record_count = uint32_t(described.records.size());
  info->records = described.records.data();
  return FIGMENT_OK;
}

FigmentStatus describeChoice(const DescribedProgram& described, uint32_t index, bool measurable,
                             FigmentChoice* choice) {
  const ProgramRecord& record = described.program->records[index];
  choice->reason = uint32_t(record.choice.reason);
  choice->measurable = measurable;
  choice->candidate_count = uint32_t(described.candidates[index].size());
  choice->candidates = described.candidates[index].data();
  choice->key = record.choice.key.c_str();
  return FIGMENT_OK;
}

FigmentStatus describeMemory(const MemoryCounters& counters, uint64_t packed,
                             FigmentMemoryInfo* info) {
  info->in_use = counters.inUse;
  info->cached = counters.cached;
  info->peak = counters.peak;
  info->system_allocations = counters.systemAllocations;
  info->limit = counters.limit;
  info->packed = packed;
  return FIGMENT_OK;
}

uint64_t sendTimings(const Timeline& timeline, uint64_t since,
                     void (*sink)(void* context, const FigmentTiming*), void* context) {
  std::vector<TimelineEvent> events;
  const uint64_t first = timeline.read(since, events);
  for (const TimelineEvent& event : events) {
    const FigmentTiming timing = {uint32_t(event.kind), event.worker,      event.program,
                                  event.record,         event.tag,         event.op,
                                  event.variant,        event.startMicros, event.micros};
    sink(context, &timing);
  }
  return first;
}

FigmentBackend commonBackend() {
  FigmentBackend backend = {};
  backend.size = sizeof(FigmentBackend);
  backend.version = FIGMENT_BACKEND_ABI_VERSION;
  backend.last_error = takeLastError;
  backend.each_op = eachOp;
  backend.each_variant = eachVariant;
  backend.add_measured = addMeasuredCall;
  return backend;
}

}  // namespace figment
