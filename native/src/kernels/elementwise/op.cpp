// elementwise: runs one piece of register code for every element of the iteration space. With
// strided operands it is also copy, fill, cast, slice, pad, concat, transpose and broadcast.
// This file is the verifier: after it, interpreters need no checks of their own.
#include <string>

#include "../params/elementwise.generated.h"
#include "program.h"

namespace figment::elementwise {
namespace {

std::string at(int index, const char* problem) {
  return "instruction " + std::to_string(index) + ": " + problem;
}

/// Outputs may be strided but no two elements may share a place.
bool elementsDisjoint(const Operand& operand) {
  int64_t dims[kMaxRank], strides[kMaxRank];
  int count = 0;
  for (int i = 0; i < operand.rank; i++) {
    if (operand.dims[i] == 0) return true;
    if (operand.dims[i] == 1) continue;
    int place = count++;
    for (; place > 0 && strides[place - 1] > operand.strides[i]; place--) {
      dims[place] = dims[place - 1];
      strides[place] = strides[place - 1];
    }
    dims[place] = operand.dims[i];
    strides[place] = operand.strides[i];
  }
  int64_t extent = 1;  // from the first place of the dimensions so far to one past their last
  for (int i = 0; i < count; i++) {
    int64_t reach;
    if (strides[i] < extent) return false;
    if (__builtin_mul_overflow(strides[i], dims[i] - 1, &reach)) return false;
    if (__builtin_add_overflow(extent, reach, &extent)) return false;
  }
  return true;
}

std::string checkOperands(const OpCall& call) {
  if (call.inCount > kMaxInputs) return "more than 24 inputs";
  if (call.outCount < 1 || call.outCount > kMaxOutputs) return "needs 1 to 8 outputs";
  const Operand& space = call.out[0];
  for (int i = 0; i < call.inCount + call.outCount; i++) {
    const Operand& operand = i < call.inCount ? call.in[i] : call.out[i - call.inCount];
    if (operand.rank != space.rank) return "operands differ in rank";
    int64_t elements = 1;
    for (int d = 0; d < space.rank; d++) {
      if (operand.dims[d] != space.dims[d]) return "operands differ in shape";
      if (operand.dims[d] < 0 || operand.strides[d] < 0) return "negative dimension or stride";
      if (__builtin_mul_overflow(elements, operand.dims[d] == 0 ? 1 : operand.dims[d], &elements))
        return "too many elements";
    }
  }
  for (int o = 0; o < call.outCount; o++)
    if (!elementsDisjoint(call.out[o])) return "elements of an output overlap";
  return "";
}

/// A linear scan that types every register: the only control flow is from first to last.
class Verifier {
 public:
  explicit Verifier(const OpCall& call)
      : call_(call), registers_(call.as<ElementwiseParams>().registers) {
    for (int8_t& type : types_) type = kEmpty;
  }

  std::string run() {
    const Instruction* code = instructions(call_);
    const int count = instructionCount(call_);
    for (int i = 0; i < count; i++) {
      const char* problem = step(code[i]);
      if (problem) return at(i, problem);
    }
    for (int o = 0; o < call_.outCount; o++)
      if (!stored_[o]) return "output " + std::to_string(o) + " is never stored";
    return "";
  }

 private:
  static constexpr int8_t kEmpty = -1;

  bool holds(uint8_t reg, RegisterType type) const {
    return reg < registers_ && types_[reg] == int8_t(type);
  }

  const char* step(const Instruction& code) {
    if (uint16_t(code.op) >= kOpcodeCount) return "unknown opcode";
    if (uint8_t(code.type) >= kRegisterTypeCount) return "unknown register type";
    if (code.zero != 0) return "reserved byte is not zero";
    if (code.op == Opcode::kStore) return store(code);
    if (code.dst >= registers_) return "destination register out of range";
    const char* problem = operation(code);
    if (problem) return problem;
    types_[code.dst] = int8_t(isComparison(code.op) ? RegisterType::kI32 : code.type);
    return nullptr;
  }

  const char* store(const Instruction& code) {
    if (code.b >= call_.outCount) return "stores to an output that does not exist";
    if (stored_[code.b]) return "stores an output twice";
    if (registerTypeOf(call_.out[code.b].format) != code.type)
      return "store type does not match the output's format";
    if (!holds(code.a, code.type)) return "stored register does not hold that type";
    stored_[code.b] = true;
    return nullptr;
  }

  const char* operation(const Instruction& code) {
    switch (code.op) {
      case Opcode::kLoad:
        if (code.a >= call_.inCount) return "loads an input that does not exist";
        if (registerTypeOf(call_.in[code.a].format) != code.type)
          return "load type does not match the input's format";
        return nullptr;
      case Opcode::kConstant:
        if (code.type == RegisterType::kI32 &&
            !(code.imm >= -2147483648.0 && code.imm <= 2147483647.0 &&
              code.imm == double(int32_t(code.imm))))
          return "constant is not an i32";
        return nullptr;
      case Opcode::kCast:
        if (code.b >= kRegisterTypeCount) return "unknown source type";
        return holds(code.a, RegisterType(code.b)) ? nullptr : "source does not hold that type";
      case Opcode::kSelect:
        if (!holds(code.a, RegisterType::kI32)) return "condition is not an i32 register";
        return holds(code.b, code.type) && holds(code.c, code.type)
                   ? nullptr
                   : "source does not hold that type";
      default:
        if (code.type == RegisterType::kI32 && isFloatOnly(code.op))
          return "no such function of integers";
        if (!holds(code.a, code.type)) return "source does not hold that type";
        if (sourceCount(code.op) == 2 && !holds(code.b, code.type))
          return "source does not hold that type";
        return nullptr;
    }
  }

  const OpCall& call_;
  const int registers_;
  int8_t types_[kMaxRegisters];
  bool stored_[kMaxOutputs] = {};
};

std::string check(const OpCall& call) {
  std::string problem = checkOperands(call);
  if (!problem.empty()) return problem;
  const ElementwiseParams& params = call.as<ElementwiseParams>();
  if (params.registers < 0 || params.registers > kMaxRegisters) return "more than 64 registers";
  if (params.instructions < 1 || params.instructions > kMaxInstructions)
    return "needs 1 to 1024 instructions";
  if (call.paramBytes != sizeof params + size_t(params.instructions) * sizeof(Instruction))
    return "register code has the wrong length";
  return Verifier(call).run();
}

/// True when some output other than `out` receives the elements of `in` as they are: it would read
/// them after `out` has been written.
bool passedToAnother(const OpCall& call, int out, int in) {
  constexpr int kComputed = -1;
  int origin[kMaxRegisters];
  const Instruction* code = instructions(call);
  for (int i = 0; i < instructionCount(call); i++) {
    const Instruction& step = code[i];
    if (step.op == Opcode::kStore) {
      if (step.b != out && origin[step.a] == in) return true;
    } else if (step.op == Opcode::kLoad) {
      origin[step.dst] = step.a;
    } else if (step.op == Opcode::kCast && RegisterType(step.b) == step.type) {
      origin[step.dst] = origin[step.a];
    } else {
      origin[step.dst] = kComputed;
    }
  }
  return false;
}

/// Element for element in place: the same dims are given, so equal widths and strides suffice.
bool mayAlias(const OpCall& call, int out, int in) {
  const Operand& y = call.out[out];
  const Operand& x = call.in[in];
  if (formatBytes(y.format) != formatBytes(x.format)) return false;
  for (int d = 0; d < y.rank; d++)
    if (y.dims[d] != 1 && y.strides[d] != x.strides[d]) return false;
  return !passedToAnother(call, out, in);
}

/// Bytes of the distinct elements of an operand: broadcast dimensions are read once.
double traffic(const Operand& operand) {
  double elements = 1;
  for (int d = 0; d < operand.rank; d++)
    if (operand.strides[d] != 0 || operand.dims[d] == 0) elements *= double(operand.dims[d]);
  return elements * double(formatBytes(operand.format));
}

Cost cost(const OpCall& call) {
  Cost cost;
  const Instruction* code = instructions(call);
  double flops = 0;
  for (int i = 0; i < instructionCount(call); i++) {
    if (sourceCount(code[i].op) == 0 || code[i].op == Opcode::kStore) continue;
    // A polynomial is worth about this many simple operations.
    constexpr double kTranscendentalFlops = 15;
    flops += isTranscendental(code[i].op) ? kTranscendentalFlops : 1;
  }
  cost.flops = flops * double(call.out[0].elements());
  for (int i = 0; i < call.inCount; i++) cost.bytes += traffic(call.in[i]);
  for (int o = 0; o < call.outCount; o++) cost.bytes += traffic(call.out[o]);
  return cost;
}

const RegisterOp registerOp{OpSpec{.name = "elementwise",
                                   .schemaHash = ElementwiseParams::kHash,
                                   .paramBytes = sizeof(ElementwiseParams),
                                   .hasTail = true,
                                   .check = check,
                                   .mayAlias = mayAlias,
                                   .cost = cost}};

}  // namespace
}  // namespace figment::elementwise
