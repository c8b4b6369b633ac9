// From register code to steps over buffers: single assignment, lifetimes, in-place results.
#include "plan.h"

#include "../params/elementwise.generated.h"
#include "../simd/streaming.h"

namespace figment::elementwise {
namespace {

using FIGMENT_ISA::kStreamedBytes;
using FIGMENT_ISA::kStreamedTraffic;

constexpr int kNone = -1;

/// How an opcode with f32 operands continues a chain; kNone if it cannot.
constexpr int linkOf(Opcode op) {
  switch (op) {
    case Opcode::kAdd:
      return int(LinkOp::kAdd);
    case Opcode::kSub:
      return int(LinkOp::kSub);
    case Opcode::kMul:
      return int(LinkOp::kMul);
    case Opcode::kDiv:
      return int(LinkOp::kDiv);
    case Opcode::kMaximum:
      return int(LinkOp::kMaximum);
    case Opcode::kMinimum:
      return int(LinkOp::kMinimum);
    case Opcode::kNeg:
      return int(LinkOp::kNeg);
    case Opcode::kAbs:
      return int(LinkOp::kAbs);
    case Opcode::kSquare:
      return int(LinkOp::kSquare);
    case Opcode::kSqrt:
      return int(LinkOp::kSqrt);
    default:
      return kNone;
  }
}

/// The same with operands exchanged. Maxima have no such: which zero they return depends on it.
constexpr int reversed(int op) {
  switch (LinkOp(op)) {
    case LinkOp::kAdd:
    case LinkOp::kMul:
      return op;
    case LinkOp::kSub:
      return int(LinkOp::kReverseSub);
    case LinkOp::kDiv:
      return int(LinkOp::kReverseDiv);
    default:
      return kNone;
  }
}

/// What an instruction computed. Values are numbered; inputs and constants are values too.
struct Value {
  enum Kind : uint8_t { kInput, kConstant, kTemporary } kind;
  int16_t slot;     ///< known from the start for inputs, later for the rest
  int16_t ordinal;  ///< of the input, constant or step
  int lastUse;      ///< step; -1 when never used
  int uses;         ///< by steps and stores
};

class Builder {
 public:
  Builder(const OpCall& call, const BlockTable& table, Plan& plan)
      : call_(call), table_(table), plan_(plan) {}

  void build() {
    plan_.stepCount = plan_.linkCount = plan_.constantCount = plan_.buffers = 0;
    for (int i = 0; i < call_.inCount; i++) {
      plan_.inputs[i] = InputUse{};
      inputValue_[i] = kNone;
    }
    for (int o = 0; o < call_.outCount; o++) plan_.outputs[o] = OutputUse{};
    const Instruction* code = instructions(call_);
    for (int i = 0; i < instructionCount(call_); i++) translate(code[i]);
    formChains();
    numberSteps();
    chooseTiling(call_, plan_.stepCount, plan_.tiling);
    for (int o = 0; o < call_.outCount; o++) planOutput(o);
    for (int o = 0; o < call_.outCount; o++) tryInPlace(o);
    assignBuffers();
    for (int o = 0; o < call_.outCount; o++) plan_.outputs[o].slot = values_[stored_[o]].slot;
    reserve();
    // Operands of a step of training have been out of the caches for long. What computes much
    // leaves the processor time to fetch by itself, and small operands are there.
    constexpr int64_t kFetchedTraffic = int64_t(1) << 20;
    plan_.fetches = !costly_ && traffic() > kFetchedTraffic;
  }

 private:
  int add(Value::Kind kind, int slot, int ordinal) {
    values_[valueCount_] = {kind, int16_t(slot), int16_t(ordinal), -1, 0};
    return valueCount_++;
  }

  int use(uint8_t reg) {
    const int value = registers_[reg];
    values_[value].uses++;
    if (values_[value].kind == Value::kInput) plan_.inputs[values_[value].ordinal].computed = true;
    return value;
  }

  /// Steps name values until assignBuffers turns them into slots.
  int emit(Block block, int a, int b = kNone, int c = kNone) {
    const int value = add(Value::kTemporary, kNone, plan_.stepCount);
    plan_.steps[plan_.stepCount++] = {block, int16_t(value), int16_t(a), int16_t(b), int16_t(c), 0,
                                      0,     false};
    return value;
  }

  void translate(const Instruction& code) {
    switch (code.op) {
      case Opcode::kLoad:
        plan_.inputs[code.a].used = true;
        if (inputValue_[code.a] == kNone) inputValue_[code.a] = add(Value::kInput, code.a, code.a);
        registers_[code.dst] = inputValue_[code.a];
        return;
      case Opcode::kStore:
        stored_[code.b] = registers_[code.a];
        values_[registers_[code.a]].uses++;
        return;
      case Opcode::kConstant:
        registers_[code.dst] = constant(code);
        return;
      case Opcode::kCast:
        links_[plan_.stepCount] = {kNone, kNone, kNone};
        if (RegisterType(code.b) == code.type)
          registers_[code.dst] = registers_[code.a];
        else
          registers_[code.dst] = emit(
              code.type == RegisterType::kI32 ? table_.castToI32 : table_.castToF32, use(code.a));
        return;
      default: {
        const Block* blocks = code.type == RegisterType::kF32 ? table_.f32 : table_.i32;
        const int sources = sourceCount(code.op);
        const int a = use(code.a);
        const int b = sources > 1 ? use(code.b) : kNone;
        const int c = sources > 2 ? use(code.c) : kNone;
        const int op = code.type == RegisterType::kF32 ? linkOf(code.op) : kNone;
        links_[plan_.stepCount] = {int8_t(op), kNone, int16_t(b)};
        costly_ |= isTranscendental(code.op);
        registers_[code.dst] = emit(blocks[int(code.op)], a, b, c);
      }
    }
  }

  int constant(const Instruction& code) {
    uint32_t bits;
    const float real = float(code.imm);
    if (code.type == RegisterType::kF32)
      __builtin_memcpy(&bits, &real, sizeof bits);
    else
      bits = uint32_t(int32_t(code.imm));
    for (int v = 0; v < valueCount_; v++)
      if (values_[v].kind == Value::kConstant && plan_.constants[values_[v].ordinal].bits == bits)
        return v;
    plan_.constants[plan_.constantCount] = {bits, 0};
    return add(Value::kConstant, kNone, plan_.constantCount++);
  }

  /// The step that makes `value`, if a chain may take it up; else kNone.
  int chainable(int value) const {
    if (value == kNone) return kNone;
    const Value& v = values_[value];
    const bool alone = v.kind == Value::kTemporary && v.uses == 1;
    return alone && links_[v.ordinal].op != kNone ? v.ordinal : kNone;
  }

  /// Merges steps into the only step that reads their result. Where nothing but NaN could tell,
  /// operands are exchanged; results are those of the separate steps.
  void formChains() {
    for (int s = 0; s < plan_.stepCount; s++) {
      Continuation& link = links_[s];
      if (link.op == kNone) continue;
      const Step& step = plan_.steps[s];
      link.from = int16_t(chainable(step.a));
      if (link.from == kNone && reversed(link.op) != kNone) {
        link.from = int16_t(chainable(step.b));
        if (link.from == kNone) continue;
        link.op = int8_t(reversed(link.op));
        link.other = step.a;
      }
      if (link.from != kNone) plan_.steps[link.from].dst = kNone;
    }
    for (int s = 0; s < plan_.stepCount; s++)
      if (plan_.steps[s].dst != kNone && links_[s].op != kNone && links_[s].from != kNone)
        layChain(s);
  }

  /// Turns the step that ends a chain into all of it.
  void layChain(int last) {
    int count = 0, first = last;
    for (int s = last; s != kNone; s = links_[s].from) {
      first = s;
      count++;
    }
    Step& step = plan_.steps[last];
    step = {nullptr,        step.dst, plan_.steps[first].a, kNone, kNone, int16_t(plan_.linkCount),
            int16_t(count), false};
    plan_.linkCount += count;
    Link* link = plan_.links + plan_.linkCount;
    for (int s = last; s != kNone; s = links_[s].from)
      *--link = {LinkOp(links_[s].op), false, links_[s].other};
  }

  /// Calls f(place of a source) for all that a step reads.
  template <class F>
  void forSources(Step& step, F&& f) {
    for (int16_t* source : {&step.a, &step.b, &step.c})
      if (*source != kNone) f(*source);
    for (int l = 0; l < step.linkCount; l++) {
      Link& link = plan_.links[step.links + l];
      if (link.other != kNone) f(link.other);
    }
  }

  /// Closes the gaps that chains left, then notes where each value is made and last used.
  void numberSteps() {
    int count = 0;
    for (int s = 0; s < plan_.stepCount; s++)
      if (plan_.steps[s].dst != kNone) plan_.steps[count++] = plan_.steps[s];
    plan_.stepCount = count;
    for (int s = 0; s < count; s++) {
      values_[plan_.steps[s].dst].ordinal = int16_t(s);
      forSources(plan_.steps[s], [&](int value) { values_[value].lastUse = s; });
    }
  }

  bool onInput(int o) const {
    for (int i = 0; i < call_.inCount; i++)
      if (plan_.inputs[i].used && call_.in[i].data == call_.out[o].data) return true;
    return false;
  }

  void planOutput(int o) {
    const Operand& out = call_.out[o];
    OutputUse& use = plan_.outputs[o];
    Value& value = values_[stored_[o]];
    const Access& access = plan_.tiling.access[call_.inCount + o];
    value.lastUse = plan_.stepCount;
    if (value.kind == Value::kInput && call_.in[value.ordinal].format == out.format &&
        out.format != Format::i64) {
      use.kind = OutputUse::kCopy;
      use.fromRaw = true;
    } else {
      use.kind = isNative(out.format) ? OutputUse::kCopy : OutputUse::kNarrow;
      use.narrow = table_.store[int(out.format)];
      if (value.kind == Value::kInput) plan_.inputs[value.ordinal].computed = true;
    }
    use.streamed = use.kind == OutputUse::kCopy && access.kind == Access::kDirect && !onInput(o) &&
                   bytesOf(out) >= kStreamedBytes && traffic() > kStreamedTraffic;
  }

  int64_t bytesOf(const Operand& operand) const {
    return operand.elements() * int64_t(formatBytes(operand.format));
  }

  /// Bytes that the call reads and writes, as if nothing were broadcast.
  int64_t traffic() const {
    int64_t bytes = 0;
    for (int i = 0; i < call_.inCount; i++) bytes += bytesOf(call_.in[i]);
    for (int o = 0; o < call_.outCount; o++) bytes += bytesOf(call_.out[o]);
    return bytes;
  }

  /// Lets the step that computes an output's value write it there, unless a later one still reads
  /// an input that lies under it.
  void tryInPlace(int o) {
    OutputUse& use = plan_.outputs[o];
    Value& value = values_[stored_[o]];
    if (use.kind != OutputUse::kCopy || value.kind != Value::kTemporary) return;
    Step& step = plan_.steps[value.ordinal];
    // What is streamed must not be read again.
    if (use.streamed && (step.block || value.uses > 1)) return;
    if (plan_.tiling.access[call_.inCount + o].kind != Access::kDirect) return;
    if (value.slot != kNone) return;  // another output has it
    for (int i = 0; i < call_.inCount; i++)
      if (inputValue_[i] != kNone && call_.in[i].data == call_.out[o].data &&
          values_[inputValue_[i]].lastUse > value.ordinal)
        return;
    step.stream = use.streamed;
    value.slot = int16_t(call_.inCount + o);
    use.kind = OutputUse::kInPlace;
  }

  int newBuffer() { return call_.inCount + call_.outCount + plan_.buffers++; }

  /// Whether all elements of a tile are equal.
  bool repeats(const Value& value) const {
    if (value.kind != Value::kInput) return value.kind == Value::kConstant;
    const Access& access = plan_.tiling.access[value.ordinal];
    return access.kind == Access::kRepeat && access.rank == 1;
  }

  void assignBuffers() {
    for (int v = 0; v < valueCount_; v++)
      if (values_[v].kind == Value::kConstant)
        plan_.constants[values_[v].ordinal].slot = values_[v].slot = int16_t(newBuffer());
    int16_t free[kMaxInstructions];
    int freeCount = 0;
    const auto release = [&](int value, int step) {
      Value& v = values_[value];
      if (v.kind != Value::kTemporary || v.lastUse > step) return;
      if (v.slot < call_.inCount + call_.outCount || released_[value]) return;
      released_[value] = true;
      free[freeCount++] = v.slot;
    };
    for (int s = 0; s < plan_.stepCount; s++) {
      Step& step = plan_.steps[s];
      for (int l = 0; l < step.linkCount; l++) {
        Link& link = plan_.links[step.links + l];
        link.repeats = link.other != kNone && repeats(values_[link.other]);
      }
      // Sources that die here may be overwritten: blocks and chains work element for element.
      forSources(step, [&](int16_t& source) {
        const int value = source;
        source = values_[value].slot;
        release(value, s);
      });
      const int result = step.dst;
      if (values_[result].slot == kNone)
        values_[result].slot = int16_t(freeCount > 0 ? free[--freeCount] : newBuffer());
      step.dst = values_[result].slot;
      release(result, s);
    }
  }

  /// Scratch of one worker: the slot table, the register buffers, then the inputs' and outputs'.
  void reserve() {
    plan_.slots = call_.inCount + call_.outCount + plan_.buffers;
    size_t bytes = plan_.bufferOffset(plan_.buffers);
    const auto take = [&bytes](int elementBytes) {
      const int offset = int(bytes);
      bytes += size_t(kTileElements) * size_t(elementBytes);  // a multiple of a cache line
      return offset;
    };
    for (int i = 0; i < call_.inCount; i++) {
      InputUse& use = plan_.inputs[i];
      if (!use.used) continue;
      if (plan_.tiling.access[i].kind != Access::kDirect)
        use.raw = take(int(formatBytes(call_.in[i].format)));
      if (use.computed) use.widen = table_.load[int(call_.in[i].format)];
      if (use.widen) use.converted = take(4);
    }
    for (int o = 0; o < call_.outCount; o++) {
      OutputUse& use = plan_.outputs[o];
      if (use.kind == OutputUse::kNarrow &&
          plan_.tiling.access[call_.inCount + o].kind != Access::kDirect)
        use.raw = take(int(formatBytes(call_.out[o].format)));
    }
    plan_.bytes = bytes;
  }

  const OpCall& call_;
  const BlockTable& table_;
  Plan& plan_;
  int valueCount_ = 0;
  int inputValue_[kMaxInputs];
  int stored_[kMaxOutputs];
  int16_t registers_[kMaxRegisters];
  /// How a step may continue the chain that another step ends.
  struct Continuation {
    int8_t op;      ///< a LinkOp; kNone: it may not
    int16_t from;   ///< that step; kNone: it begins one
    int16_t other;  ///< value of the other operand
  };
  Continuation links_[kMaxInstructions];
  bool costly_ = false;  ///< a polynomial is computed
  Value values_[kMaxInstructions + kMaxInputs];
  bool released_[kMaxInstructions + kMaxInputs] = {};
};

}  // namespace

int Plan::bufferOffset(int buffer) const {
  constexpr int kLine = 64;
  const int table = (slots * int(sizeof(void*)) + kLine - 1) / kLine * kLine;
  return table + buffer * kBufferBytes;
}

void buildPlan(const OpCall& call, const BlockTable& table, Plan& plan) {
  Builder(call, table, plan).build();
}

}  // namespace figment::elementwise
