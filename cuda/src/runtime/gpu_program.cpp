#include "gpu_program.h"

#include <algorithm>

#include "../device/failure.h"
#include "check.h"
#include "gpu_device.h"

namespace figment::cuda {
namespace {

constexpr uint64_t kAlignment = 256;
/// Inputs of at most so many bytes may travel with a call.
constexpr uint64_t kNumberBytes = 8;
/// A loop of more launches than this is queued, not recorded.
constexpr int64_t kMostNodes = 8192;
/// A recorded loop cannot be stopped between its turns, so it must be short.
constexpr int64_t kMostLoopNodes = 1024;
/// Below this there is little to gain.
constexpr size_t kFewestRecords = 2;

/// Scratch of records that may run at once.
constexpr uint64_t kRoomyScratch = uint64_t(16) << 20;

uint64_t aligned(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

/// Launches of the records [begin, end), loops unrolled; stops counting above kMostNodes.
int64_t launchesOf(const Program& program, uint32_t begin, uint32_t end) {
  int64_t launches = 0;
  for (uint32_t r = begin; r < end && launches <= kMostNodes; r++) {
    const ProgramRecord& record = program.records[r];
    if (record.op) {
      launches++;
      continue;
    }
    const int64_t body = launchesOf(program, r + 1, r + 1 + record.repeat.records) + 1;
    launches +=
        body > kMostNodes / record.repeat.count ? kMostNodes + 1 : body * record.repeat.count;
    r += record.repeat.records;
  }
  return launches;
}

}  // namespace

uint64_t scratchOf(const ProgramRecord& record) {
  const RegisteredVariant* const variant = record.choice.variant;
  return variant && variant->scratch ? aligned(variant->scratch(record.call, 1)) : 0;
}

Recording::~Recording() {
  for (const RecordedPart& part : parts)
    if (part.graph) cudaGraphExecDestroy(part.graph);
}

GpuProgram::GpuProgram(GpuDevice& device, std::unique_ptr<Program> loaded)
    : DescribedProgram(std::move(loaded)), device(device) {
  bool loops = false;
  for (const ProgramRecord& record : program->records) {
    if (record.op && mayFail(record.opName())) fallible = true;
    if (!record.op) loops = true;
  }
  leastScratch = program->scratchBytes(1);
  scratchBytes = leastScratch;
  const auto count = uint32_t(program->records.size());
  recordable = program->records.size() >= kFewestRecords && !(loops && fallible) &&
               launchesOf(*program, 0, count) <= (loops ? kMostLoopNodes : kMostNodes);
  if (recordable) {
    uint64_t all = 0;
    for (const ProgramRecord& record : program->records) all += scratchOf(record);
    scratchBytes = std::max(leastScratch, std::min(all, kRoomyScratch));
  }

  for (const format::Slot& slot : program->slots)
    if (slot.kind == format::SlotKind::constant)
      constantBytes = std::max(constantBytes, slot.offset + slot.bytes);
  parametersAt = aligned(constantBytes);
  blockBytes = parametersAt + kNumberBytes * program->inputBytes.size();
  for (const uint64_t bytes : program->inputBytes) {
    inputAt.push_back(fixedBytes);
    fixedBytes += aligned(bytes);
  }
  for (const uint64_t bytes : program->outputBytes) {
    outputAt.push_back(fixedBytes);
    fixedBytes += aligned(bytes);
  }
  if (blockBytes == 0) return;
  block = static_cast<std::byte*>(device.allocate(blockBytes));
  if (!block) throw std::bad_alloc();
}

GpuProgram::~GpuProgram() {
  device.forgetRecordings(*this);
  if (block) device.release(block, blockBytes);
}

}  // namespace figment::cuda
