// The verifier. Order of checks: slots, ops, then record by record — parameters, operands and their
// extents, access rules, the op's own guard, overlaps — and last the choice of a kernel. A program
// that passes cannot make any kernel touch memory outside the buffers that run() binds. Repeats
// nest like brackets, and none begins in a commit section.
#include "program.h"

#include <algorithm>
#include <atomic>
#include <string>

#include "error.h"
#include "program_reader.h"

namespace figment {
namespace {

/// Bound on a dimension or stride, and on the elements of one operand (2^46): products of a bounded
/// value and a format's bytes stay below 2^63.
constexpr int64_t kLargestExtent = int64_t(1) << 46;

/// Nominal speed of one thread, for the inline decision only: 20 GFLOP/s, 10 GB/s, and the cost of
/// getting one record going.
constexpr double kFlopsPerMicro = 20e3;
constexpr double kBytesPerMicro = 10e3;
constexpr double kRecordMicros = 0.1;

/// Bytes that an operand may touch: [begin, end) within its slot's space. `space` is the same
/// number for memory that can be the same.
struct Range {
  uint32_t space;
  uint64_t begin;
  uint64_t end;

  bool overlaps(const Range& other) const {
    const bool empty = begin == end || other.begin == other.end;
    return space == other.space && !empty && begin < other.end && other.begin < end;
  }
};
constexpr uint32_t kArenaSpace = 0xffffffff;

uint32_t nextProgramId() {
  static std::atomic<uint32_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

class Verifier {
 public:
  Verifier(ProgramSections sections, std::string_view variant)
      : sections_(std::move(sections)), variant_(variant) {}

  std::unique_ptr<Program> run() {
    const format::Header& header = sections_.header;
    if (header.commitStart > header.recordCount)
      refuse("commit section starts after the last record");
    program_->slots.assign(sections_.slots.begin(), sections_.slots.end());
    program_->id = nextProgramId();
    program_->commitStart = header.commitStart;
    program_->arenaBytes = header.arenaBytes;
    checkSlots();
    findOps();
    program_->operands.resize(header.operandCount);
    program_->places.resize(header.operandCount);
    program_->records.reserve(header.recordCount);
    blocks_.push_back({header.recordCount, header.commitStart, 1});
    for (uint32_t r = 0; r < header.recordCount; r++) addRecord(r);
    for (size_t s = 0; s < outputWritten_.size(); s++) {
      if (!outputWritten_[s] && program_->outputBytes[s] > 0)
        refuse("output " + std::to_string(s) + " is never written");
    }
    program_->constants = sections_.constants.data();
    program_->storage = std::move(sections_.storage);
    program_->fallbacks = std::make_unique<std::atomic<uint64_t>[]>(program_->records.size());
    return std::move(program_);
  }

 private:
  void checkSlots();
  void findOps();
  void addRecord(uint32_t index);
  void addKernel(uint32_t index);
  void addRepeat(uint32_t index);
  std::vector<Range> addOperands(const std::string& where, uint32_t index);
  const std::byte* paramsOf(const std::string& where, uint32_t index) const;
  bool inCommit(uint32_t record) const { return record >= blocks_.back().commitStart; }
  Range addOperand(const std::string& where, uint32_t index, bool written, uint32_t record);
  void checkWrite(const std::string& where, const format::Slot& slot, uint32_t record);
  ProgramPacking* packingOf(const RegisteredVariant& variant, const OpCall& call,
                            uint32_t operandStart);
  void checkOverlaps(const std::string& where, const RegisteredOp& op, const OpCall& call,
                     const std::vector<Range>& ranges);

  ProgramSections sections_;
  std::string variant_;
  std::unique_ptr<Program> program_ = std::make_unique<Program>();
  std::vector<const RegisteredOp*> ops_;
  std::vector<bool> outputWritten_;
  /// The blocks that the current record lies in, the whole program first.
  struct Block {
    uint32_t end;
    uint32_t commitStart;
    double times;  ///< how often its records run
  };
  std::vector<Block> blocks_;
};

void Verifier::checkSlots() {
  const format::Header& header = sections_.header;
  const auto counts = {header.inputCount, header.outputCount, header.stateCount};
  for (const uint32_t count : counts) {
    if (count > header.slotCount) refuse("more inputs, outputs or states than slots");
  }
  program_->inputBytes.resize(header.inputCount);
  program_->outputBytes.resize(header.outputCount);
  program_->stateBytes.resize(header.stateCount);
  program_->stateWritten.resize(header.stateCount);
  outputWritten_.resize(header.outputCount);
  std::vector<bool> seen[3] = {std::vector<bool>(header.inputCount),
                               std::vector<bool>(header.outputCount),
                               std::vector<bool>(header.stateCount)};
  std::vector<uint64_t>* bytes[3] = {&program_->inputBytes, &program_->outputBytes,
                                     &program_->stateBytes};
  for (size_t s = 0; s < program_->slots.size(); s++) {
    const format::Slot& slot = program_->slots[s];
    const std::string where = "slot " + std::to_string(s) + ": ";
    const auto kind = uint32_t(slot.kind);
    if (kind >= format::kSlotKindCount) refuse(where + "unknown kind " + std::to_string(kind));
    if (slot.bytes > uint64_t(kLargestExtent)) refuse(where + "size out of range");
    if (slot.zero != 0) refuse(where + "reserved field is not zero");
    if (slot.flags & ~(slot.kind == format::SlotKind::state ? format::kSlotWritten : 0))
      refuse(where + "unknown flags");
    if (slot.kind == format::SlotKind::arena || slot.kind == format::SlotKind::constant) {
      const bool arena = slot.kind == format::SlotKind::arena;
      const uint64_t space = arena ? header.arenaBytes : header.constantBytes;
      if (slot.ordinal != 0) refuse(where + "ordinal of a slot that has none");
      if (slot.offset > space || slot.bytes > space - slot.offset)
        refuse(where + "lies outside the " + (arena ? "arena" : "constants"));
      if (arena && slot.offset % format::kArenaAlignment != 0)
        refuse(where + "arena offset is not a multiple of 256");
    } else {
      if (slot.offset != 0) refuse(where + "offset of a slot that has none");
      if (slot.ordinal >= seen[kind].size()) refuse(where + "ordinal out of range");
      if (seen[kind][slot.ordinal]) refuse(where + "ordinal used twice");
      seen[kind][slot.ordinal] = true;
      (*bytes[kind])[slot.ordinal] = slot.bytes;
      if (slot.kind == format::SlotKind::state)
        program_->stateWritten[slot.ordinal] = slot.flags & format::kSlotWritten ? 1 : 0;
    }
  }
  for (const std::vector<bool>& kind : seen) {
    if (std::find(kind.begin(), kind.end(), false) != kind.end())
      refuse("an input, output or state has no slot");
  }
}

void Verifier::findOps() {
  for (const format::Op& op : sections_.ops) {
    if (op.nameOffset > sections_.strings.size() ||
        op.nameLength > sections_.strings.size() - op.nameOffset)
      refuse("an operation's name lies outside the strings");
    const std::string name(sections_.strings.substr(op.nameOffset, op.nameLength));
    const RegisteredOp* found = findOp(name);
    if (!found) refuse("unknown operation \"" + name + "\"");
    if (found->spec.schemaHash != op.schemaHash)
      refuse("operation \"" + name + "\" has other parameters in this build");
    ops_.push_back(found);
  }
}

void Verifier::addRecord(uint32_t index) {
  while (blocks_.size() > 1 && index >= blocks_.back().end) blocks_.pop_back();
  const format::RecordKind kind = sections_.records[index].kind;
  if (kind == format::RecordKind::kernel) return addKernel(index);
  if (kind == format::RecordKind::repeat) return addRepeat(index);
  refuse("record " + std::to_string(index) + ": record kind " + std::to_string(uint32_t(kind)) +
         " is reserved");
}

const std::byte* Verifier::paramsOf(const std::string& where, uint32_t index) const {
  const format::Record& record = sections_.records[index];
  if (record.paramsOffset % format::kSectionAlignment != 0)
    refuse(where + "parameters are not 8-byte aligned");
  if (record.paramsOffset > sections_.params.size() ||
      record.paramsBytes > sections_.params.size() - record.paramsOffset)
    refuse(where + "parameters lie outside their section");
  return sections_.params.data() + record.paramsOffset;
}

std::vector<Range> Verifier::addOperands(const std::string& where, uint32_t index) {
  const format::Record& record = sections_.records[index];
  const uint64_t count = uint64_t(record.inCount) + record.outCount;
  if (record.operandStart + count > program_->operands.size())
    refuse(where + "operands out of range");
  std::vector<Range> ranges;
  ranges.reserve(size_t(count));
  for (uint32_t i = 0; i < count; i++)
    ranges.push_back(addOperand(where + "operand " + std::to_string(i) + ": ",
                                record.operandStart + i, i >= record.inCount, index));
  return ranges;
}

void Verifier::addRepeat(uint32_t index) {
  const format::Record& record = sections_.records[index];
  const std::string where = "record " + std::to_string(index) + " (repeat): ";
  if (record.op != 0) refuse(where + "operation of a record that has none");
  const std::byte* params = paramsOf(where, index);
  if (record.paramsBytes != sizeof(format::Repeat))
    refuse(where + std::to_string(record.paramsBytes) + " bytes of parameters, expected " +
           std::to_string(sizeof(format::Repeat)));
  const auto& repeat = *reinterpret_cast<const format::Repeat*>(params);
  const Block outer = blocks_.back();
  if (blocks_.size() > format::kDeepestRepeat)
    refuse(where + "nested more than " + std::to_string(format::kDeepestRepeat) + " deep");
  if (repeat.count < 1 || repeat.count > format::kMostIterations)
    refuse(where + "number of iterations out of range");
  if (repeat.commitStart > repeat.records)
    refuse(where + "commit section starts after the last of its records");
  if (inCommit(index)) refuse(where + "lies in a commit section");
  if (repeat.records > outer.commitStart - index - 1)
    refuse(where + "its records reach beyond the block that it lies in");
  if (record.inCount != 0 || record.outCount > 1) refuse(where + "has at most a counter");
  addOperands(where, index);
  if (record.outCount == 1) {
    const Operand& counter = program_->operands[record.operandStart];
    if (counter.format != Format::i32 || counter.rank != 0)
      refuse(where + "the counter is an i32 scalar");
  }
  const double times = outer.times * double(repeat.count);
  program_->predictedMicros += times * kRecordMicros;
  program_->records.push_back({{},
                               nullptr,
                               {},
                               record.operandStart,
                               record.outCount,
                               {},
                               kRecordMicros,
                               record.tag,
                               repeat});
  blocks_.push_back({index + 1 + repeat.records, index + 1 + repeat.commitStart, times});
}

void Verifier::addKernel(uint32_t index) {
  const format::Record& record = sections_.records[index];
  std::string where = "record " + std::to_string(index) + ": ";
  if (record.op >= ops_.size()) refuse(where + "operation out of range");
  const RegisteredOp& op = *ops_[record.op];
  where = "record " + std::to_string(index) + " (" + op.spec.name + "): ";

  const std::byte* params = paramsOf(where, index);
  if (op.spec.hasTail ? record.paramsBytes < op.spec.paramBytes
                      : record.paramsBytes != op.spec.paramBytes)
    refuse(where + std::to_string(record.paramsBytes) + " bytes of parameters, expected " +
           std::to_string(op.spec.paramBytes));
  const std::vector<Range> ranges = addOperands(where, index);

  OpCall call;
  call.params = params;
  call.paramBytes = record.paramsBytes;
  call.in = program_->operands.data() + record.operandStart;
  call.inCount = int(record.inCount);
  call.out = call.in + record.inCount;
  call.outCount = int(record.outCount);
  if (const std::string problem = op.spec.check(call); !problem.empty()) refuse(where + problem);
  checkOverlaps(where, op, call, ranges);

  Choice choice = chooseVariant(op, call, variant_);
  if (!choice.variant) refuse(where + "no kernel of this build supports these operands");
  const Cost cost = op.spec.cost(call);
  const double micros = predictMicros(cost);
  program_->predictedMicros += micros * blocks_.back().times;
  ProgramPacking* const packing = packingOf(*choice.variant, call, record.operandStart);
  program_->records.push_back({call,
                               &op,
                               std::move(choice),
                               record.operandStart,
                               uint32_t(ranges.size()),
                               cost,
                               micros,
                               record.tag,
                               {},
                               packing});
}

ProgramPacking* Verifier::packingOf(const RegisteredVariant& variant, const OpCall& call,
                                    uint32_t operandStart) {
  if (!variant.packer) return nullptr;
  const Packing packing = variant.packer->packing(call);
  if (packing.operand < 0) return nullptr;
  const Place& place = program_->places[operandStart + uint32_t(packing.operand)];
  const format::Slot& slot = program_->slots[place.slot];
  if (slot.kind != format::SlotKind::state || slot.flags & format::kSlotWritten) return nullptr;
  return &program_->packings.emplace_back(packing);
}

Range Verifier::addOperand(const std::string& where, uint32_t index, bool written,
                           uint32_t record) {
  const format::Operand& source = sections_.operands[index];
  if (source.slot >= program_->slots.size()) refuse(where + "slot out of range");
  if (source.format >= kFormatCount) refuse(where + "unknown format");
  if (source.rank > kMaxRank) refuse(where + "rank out of range");
  if (source.layout != 0)
    refuse(where + "layout " + std::to_string(source.layout) + " is reserved");
  const format::Slot& slot = program_->slots[source.slot];
  if (source.byteOffset < 0 || uint64_t(source.byteOffset) > slot.bytes)
    refuse(where + "offset outside its slot");

  Operand& operand = program_->operands[index];
  operand.format = Format(source.format);
  operand.rank = source.rank;
  int64_t elements = 1, last = 0;  // count, and the offset of the furthest element
  bool inBounds = true;
  for (int i = 0; i < kMaxRank; i++) {
    const int64_t dim = source.dims[i], stride = source.strides[i];
    if (i >= source.rank) {
      if (dim != 0 || stride != 0) refuse(where + "dimensions beyond its rank");
      continue;
    }
    if (dim < 0 || dim > kLargestExtent || stride < 0 || stride > kLargestExtent)
      refuse(where + "dimension or stride out of range");
    operand.dims[i] = dim;
    operand.strides[i] = stride;
    int64_t reach = 0;
    // An empty operand's product is 0 from its first empty dimension on; its reach does not matter.
    inBounds = inBounds && !__builtin_mul_overflow(elements, dim, &elements) &&
               elements <= kLargestExtent &&
               (dim == 0 || (!__builtin_mul_overflow(dim - 1, stride, &reach) &&
                             !__builtin_add_overflow(last, reach, &last)));
  }
  if (!inBounds) refuse(where + "too many elements");
  const auto size = int64_t(formatBytes(operand.format));
  const int64_t extent = elements == 0 ? 0 : last + 1;
  if (extent > kLargestExtent || uint64_t(extent * size) > slot.bytes - uint64_t(source.byteOffset))
    refuse(where + "reaches beyond its slot of " + std::to_string(slot.bytes) + " bytes");
  if ((slot.offset + uint64_t(source.byteOffset)) % uint64_t(size) != 0)
    refuse(where + "is not aligned to its elements");

  if (written) {
    checkWrite(where, slot, record);
    // Distinct elements must have distinct addresses: sorted by stride, each dimension steps over
    // all that the smaller ones reach.
    std::vector<std::pair<int64_t, int64_t>> steps;  // (stride, dim)
    for (int i = 0; i < operand.rank; i++) {
      if (operand.dims[i] > 1) steps.emplace_back(operand.strides[i], operand.dims[i]);
    }
    std::sort(steps.begin(), steps.end());
    int64_t reach = 0;
    for (const auto& [stride, dim] : steps) {
      if (elements > 0 && stride <= reach) refuse(where + "is written and overlaps itself");
      reach += stride * (dim - 1);
    }
  }
  program_->places[index] = {source.slot, source.byteOffset};
  const bool arena = slot.kind == format::SlotKind::arena;
  const uint64_t begin = (arena ? slot.offset : 0) + uint64_t(source.byteOffset);
  return {arena ? kArenaSpace : source.slot, begin, begin + uint64_t(extent * size)};
}

void Verifier::checkWrite(const std::string& where, const format::Slot& slot, uint32_t record) {
  switch (slot.kind) {
    case format::SlotKind::input:
      refuse(where + "writes an input");
    case format::SlotKind::constant:
      refuse(where + "writes a constant");
    case format::SlotKind::state:
      if (!(slot.flags & format::kSlotWritten))
        refuse(where + "writes a state that is not declared as written");
      if (!inCommit(record)) refuse(where + "writes state before the commit section");
      break;
    case format::SlotKind::output:
      outputWritten_[slot.ordinal] = true;
      break;
    case format::SlotKind::arena:
      break;
  }
}

void Verifier::checkOverlaps(const std::string& where, const RegisteredOp& op, const OpCall& call,
                             const std::vector<Range>& ranges) {
  for (int o = 0; o < call.outCount; o++) {
    const Range& out = ranges[size_t(call.inCount + o)];
    for (int i = 0; i < call.inCount; i++) {
      const Range& in = ranges[size_t(i)];
      if (!out.overlaps(in)) continue;
      if (in.begin != out.begin || !op.spec.mayAlias || !op.spec.mayAlias(call, o, i))
        refuse(where + "output " + std::to_string(o) + " overlaps input " + std::to_string(i));
    }
    for (int other = 0; other < o; other++) {
      if (out.overlaps(ranges[size_t(call.inCount + other)]))
        refuse(where + "outputs " + std::to_string(other) + " and " + std::to_string(o) +
               " overlap");
    }
  }
}

}  // namespace

double predictMicros(const Cost& cost) {
  return std::max(cost.flops / kFlopsPerMicro, cost.bytes / kBytesPerMicro) + kRecordMicros;
}

std::unique_ptr<Program> loadProgram(const void* blob, size_t bytes, std::string_view variant) {
  return Verifier(readSections(blob, bytes), variant).run();
}

}  // namespace figment
