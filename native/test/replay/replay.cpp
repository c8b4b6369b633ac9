#include "replay.h"

#include <cmath>
#include <cstdio>
#include <cstring>

#include "compare.h"
#include "runtime/error.h"

namespace figment::replay {
namespace {

constexpr uint64_t kMemoryLimit = uint64_t(4) << 30;
constexpr int kThreads = 3;
constexpr long kMostReports = 40;

std::string nameOf(const ProgramRecord& record) {
  std::string name = record.opName();
  name += ' ';
  name += record.variantName();
  return name;
}

std::string kernelsOf(const Program& program) {
  std::string names;
  for (const ProgramRecord& record : program.records) {
    if (!names.empty()) names += ',';
    names += nameOf(record);
  }
  return names;
}

/// A message up to what a mutated program may have put into it: that passes through JavaScript's
/// text on one side only.
std::string plainStart(const std::string& message) {
  size_t end = 0;
  while (end < message.size() && message[end] >= ' ' && message[end] <= '~') end++;
  return message.substr(0, end);
}

/// What the kernels round numbers to between products: those on matrix tiles, whose names say so,
/// to bf16.
Format roundingOf(const Program& program) {
  for (const ProgramRecord& record : program.records)
    if (std::string_view(record.variantName()).ends_with("-bf16")) return Format::bf16;
  return Format::f64;
}

/// How the elements of an output or a state are stored; bytes when no operand says.
Format formatOf(const Program& program, format::SlotKind kind, uint32_t ordinal) {
  for (size_t i = 0; i < program.operands.size(); i++) {
    const format::Slot& slot = program.slots[program.places[i].slot];
    if (slot.kind == kind && slot.ordinal == ordinal) return program.operands[i].format;
  }
  return Format::u8;
}

/// Memory of the device, given back at the end.
class Memory {
 public:
  explicit Memory(CpuDevice& device) : device_(device) {}
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() {
    for (size_t i = 0; i < blocks_.size(); i++) device_.allocator().release(blocks_[i], bytes_[i]);
  }
  void* add(uint64_t bytes) {
    void* block = device_.allocate(bytes);
    if (!block) throw Error(code::kOutOfMemory, "replay: out of memory");
    blocks_.push_back(block);
    bytes_.push_back(bytes);
    return block;
  }
  void add(const Payload& payload) {
    std::memcpy(add(payload->size()), payload->data(), payload->size());
  }
  const std::vector<void*>& blocks() const { return blocks_; }

 private:
  CpuDevice& device_;
  std::vector<void*> blocks_;
  std::vector<uint64_t> bytes_;
};

}  // namespace

Replayer::Replayer(Totals& totals)
    : totals_(totals), alone_(1, kMemoryLimit), shared_(kThreads, kMemoryLimit) {
  setIsaLimit(Isa::generic);
  alone_.setPoison(true);
  shared_.setPoison(true);
}

void Replayer::replay(const char* path) {
  CallReader reader(path);
  for (Call call; reader.next(call);) {
    totals_.calls++;
    const std::string difference = differenceOf(call);
    if (difference.empty()) continue;
    if (totals_.different++ < kMostReports)
      std::printf("differs: %s: %s\n", call.kernels.substr(0, 200).c_str(), difference.c_str());
  }
}

std::string Replayer::differenceOf(const Call& call) {
  std::unique_ptr<Program> program;
  try {
    program = loadProgram(call.program->data(), call.program->size(), call.variant);
  } catch (const Error& error) {
    if (!call.kernels.empty()) return "refused: " + error.message();
    if (plainStart(error.message()) != plainStart(call.outcome))
      return "refused with \"" + error.message() + "\", not \"" + call.outcome + "\"";
    totals_.refusedAlike++;
    return {};
  }
  const std::string kernels = kernelsOf(*program);
  if (kernels != call.kernels)
    return "loads with the kernels " + kernels + "; recorded: " + call.outcome;
  for (const ProgramRecord& record : program->records)
    if (record.op) totals_.kernels.insert(nameOf(record));
  const std::string alone = run(call, *program, alone_);
  if (!alone.empty()) return alone;
  const Totals before = totals_;
  const std::string shared = run(call, *program, shared_);
  totals_ = before;
  return shared.empty() ? shared : "on " + std::to_string(kThreads) + " threads: " + shared;
}

std::string Replayer::run(const Call& call, Program& program, CpuDevice& device) {
  Memory inputs(device), states(device), outputs(device);
  for (const Payload& input : call.inputs) inputs.add(input);
  for (const Payload& state : call.statesBefore) states.add(state);
  for (const uint64_t bytes : program.outputBytes) outputs.add(bytes);
  const Bindings bindings = {inputs.blocks().data(), outputs.blocks().data(),
                             states.blocks().data()};
  const RunResult result = device.run(program, bindings, RunControl{});
  if (result.message != call.outcome)
    return "ends with \"" + result.message + "\", not \"" + call.outcome + "\"";
  if (result.outcome != RunOutcome::done) {
    totals_.failedAlike++;
    return {};
  }
  return compareAll(call, program, outputs.blocks(), states.blocks());
}

std::string Replayer::compareAll(const Call& call, const Program& program,
                                 const std::vector<void*>& outputs,
                                 const std::vector<void*>& states) {
  double worst = 0;
  const Format rounding = roundingOf(program);
  const auto compare = [&](const std::vector<void*>& actual, const std::vector<Payload>& expected,
                           format::SlotKind kind) {
    for (size_t i = 0; i < expected.size(); i++) {
      const Format format = formatOf(program, kind, uint32_t(i));
      worst = std::max(
          worst, distance(actual[i], expected[i]->data(), expected[i]->size(), format, rounding));
    }
  };
  compare(outputs, call.outputs, format::SlotKind::output);
  compare(states, call.statesAfter, format::SlotKind::state);
  if (worst == 0) {
    totals_.same++;
    return {};
  }
  if (!(worst <= 1)) return "off by " + std::to_string(worst) + " times the bound";
  totals_.close++;
  for (const ProgramRecord& record : program.records)
    if (record.op) totals_.rounding.insert(nameOf(record));
  totals_.worst = std::max(totals_.worst, worst);
  return {};
}

}  // namespace figment::replay
