// Recorded runs: a program's launches are captured into graphs once and replayed, each after those
// whose data it needs or writes over (data_order.h), so that others fill what it leaves of the GPU.
// Inputs are copied into fixed places and outputs out of them, so that every address in a graph
// stays true; what else differs from run to run (numbers, counters, random streams) lies in device
// memory already. A program whose kernels may fail is recorded in two parts, between which the host
// asks.
#include <algorithm>

#include "check.h"
#include "gpu_device.h"

namespace figment::cuda {
namespace {

/// Sets of states that a program keeps recordings for: a step and its evaluation, say.
constexpr size_t kMostRecordings = 4;

}  // namespace

void GpuDevice::bindFixedSlots(const GpuProgram& program, const FigmentRun& run) {
  bindSlots(program, run);
  const Program& p = *program.program;
  for (size_t s = 0; s < p.slots.size(); s++) {
    const format::Slot& slot = p.slots[s];
    if (slot.kind == format::SlotKind::input)
      bases_[s] = program.fixed + program.inputAt[slot.ordinal];
    if (slot.kind == format::SlotKind::output)
      bases_[s] = program.fixed + program.outputAt[slot.ordinal];
  }
}

RunResult GpuDevice::replay(GpuProgram& program, const FigmentRun& run) {
  const Program& p = *program.program;
  if (!program.fixed && program.fixedBytes > 0) {
    program.fixed = static_cast<std::byte*>(allocator_.allocate(program.fixedBytes));
    if (!program.fixed) return runPlainly(program, run);
    std::lock_guard lock(holding_);
    holders_.push_back(&program);
  }
  const auto stopped = [&] { return run.poll && run.poll(run.poll_context); };
  if (stopped()) return {RunOutcome::aborted, {}, {}};
  Recording& recording = recordingFor(program, run);

  for (size_t i = 0; i < p.inputBytes.size(); i++) {
    const bool number = run.host_inputs && run.host_inputs[i];
    check(cudaMemcpyAsync(program.fixed + program.inputAt[i], run.inputs[i], p.inputBytes[i],
                          number ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToDevice, stream_),
          "copying an input");
  }
  for (const RecordedPart& part : recording.parts) {
    if (stopped() && part.begin <= p.commitStart) return {RunOutcome::aborted, {}, {}};
    if (part.begin == p.commitStart && part.begin > 0 && program.fallible) {
      RunResult found = foundFailure(p, RunOutcome::failed);
      if (found.outcome != RunOutcome::done) return found;
    }
    check(cudaGraphLaunch(part.graph, stream_), "replaying a program");
    committing_ = part.end > p.commitStart;
  }
  for (size_t i = 0; i < p.outputBytes.size(); i++)
    check(cudaMemcpyAsync(run.outputs[i], program.fixed + program.outputAt[i], p.outputBytes[i],
                          cudaMemcpyDeviceToDevice, stream_),
          "copying an output");
  if (!program.fallible) return {};
  const bool committed = p.commitStart < p.records.size();
  return foundFailure(p, committed ? RunOutcome::failedInCommit : RunOutcome::failed);
}

Recording& GpuDevice::recordingFor(GpuProgram& program, const FigmentRun& run) {
  const Program& p = *program.program;
  auto& kept = program.recordings;
  std::erase_if(kept, [&](const auto& old) { return old->workspaces != workspaces_; });
  for (const auto& recording : kept) {
    if (!std::equal(recording->states.begin(), recording->states.end(), run.states)) continue;
    recording->lastUse = ++uses_;
    return *recording;
  }
  if (kept.size() == kMostRecordings)
    kept.erase(std::min_element(kept.begin(), kept.end(), [](const auto& a, const auto& b) {
      return a->lastUse < b->lastUse;
    }));

  auto fresh = std::make_unique<Recording>();
  fresh->states.assign(run.states, run.states + p.stateBytes.size());
  fresh->workspaces = workspaces_;
  fresh->lastUse = ++uses_;
  const auto count = uint32_t(p.records.size());
  const bool cut = program.fallible && p.commitStart > 0 && p.commitStart < count;
  fresh->parts.push_back({0, cut ? p.commitStart : count, nullptr});
  if (cut) fresh->parts.push_back({p.commitStart, count, nullptr});
  bindFixedSlots(program, run);
  for (RecordedPart& part : fresh->parts) record(program, part);
  kept.push_back(std::move(fresh));
  return *kept.back();
}

void GpuDevice::record(GpuProgram& program, RecordedPart& part) {
  std::lock_guard lock(recording_);
  check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "recording a program");
  cudaGraph_t graph = nullptr;
  try {
    RecordedLaunches launches(stream_, *launcher_, scratch_.data, scratch_.bytes, arrivals_);
    launchBlock(program, part.begin, part.end, launches);
    launches.join();
  } catch (...) {
    cudaStreamEndCapture(stream_, &graph);
    if (graph) cudaGraphDestroy(graph);
    cudaGetLastError();
    throw;
  }
  check(cudaStreamEndCapture(stream_, &graph), "recording a program");
  const cudaError_t status = cudaGraphInstantiate(&part.graph, graph, 0);
  cudaGraphDestroy(graph);
  check(status, "preparing a recorded program");
}

void GpuDevice::launchBlock(GpuProgram& program, uint32_t begin, uint32_t end,
                            RecordedLaunches& launches) {
  const Program& p = *program.program;
  for (uint32_t r = begin; r < end; r++) {
    const ProgramRecord& record = p.records[r];
    if (record.op) {
      bindOperands(program, r);
      launches.add(record, [&] { runRecord(program, r); });
      continue;
    }
    for (int64_t i = 0; i < record.repeat.count; i++) {
      if (record.operandCount > 0) {
        const Place& place = p.places[record.operandStart];
        auto* const counter = bases_[place.slot] + place.byteOffset;
        launches.add({}, {{counter, counter + sizeof(int32_t)}}, [&] {
          launcher_->setRecord(r, "repeat");
          launcher_->setCounter(counter, int32_t(i));
        });
      }
      launchBlock(program, r + 1, r + 1 + record.repeat.records, launches);
    }
    r += record.repeat.records;
  }
}

}  // namespace figment::cuda
