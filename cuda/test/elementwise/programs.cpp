#include "programs.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/simd/half.h"
#include "runtime/error.h"

namespace figment::cuda::elementwise {
namespace {

using figment::elementwise::isComparison;
using figment::elementwise::isFloatOnly;
using figment::elementwise::registerTypeOf;
using figment::elementwise::sourceCount;

constexpr size_t kAlignment = 256;

class Maker {
 public:
  explicit Maker(uint32_t seed) : random_(seed) {}

  int below(int n) { return int(random_() % uint32_t(n)); }
  bool chance(int percent) { return below(100) < percent; }
  template <class T, size_t n>
  T pick(const T (&from)[n]) {
    return from[below(int(n))];
  }

  TestProgram program;
  int registers = 0;
  std::vector<Instruction> code;

  void shapeOf(std::vector<int64_t> dims) { dims_ = std::move(dims); }
  const std::vector<int64_t>& dims() const { return dims_; }

  void operand(Format format, bool input, int layout) {
    Operand operand;
    operand.format = format;
    operand.rank = uint8_t(dims_.size());
    std::vector<int> order(dims_.size());
    for (size_t d = 0; d < order.size(); d++) order[d] = int(order.size() - 1 - d);
    if (layout == kTransposed) std::shuffle(order.begin(), order.end(), random_);
    int64_t stride = 1;
    for (const int d : order) {
      operand.dims[d] = dims_[size_t(d)];
      const bool repeated = input && layout == kBroadcast && chance(50);
      operand.strides[d] = repeated || (input && layout == kScalar) ? 0 : stride;
      if (operand.strides[d] != 0) stride *= operand.dims[d];
      if (layout == kPadded) stride += below(3);
    }
    program.operands.push_back(operand);
    if (input) program.inputs++;
  }

  uint8_t emit(Opcode op, RegisterType type, uint8_t a, uint8_t b, uint8_t c, double imm = 0) {
    const auto dst = uint8_t(registers < kMaxRegisters ? registers++ : below(kMaxRegisters));
    code.push_back({op, dst, a, b, c, type, 0, imm});
    const bool whole = isComparison(op);
    for (auto& held : held_) std::erase(held, dst);
    held_[int(whole ? RegisterType::kI32 : type)].push_back(dst);
    return dst;
  }
  bool holds(RegisterType type) const { return !held_[int(type)].empty(); }
  uint8_t held(RegisterType type) {
    const auto& all = held_[int(type)];
    return all[size_t(below(int(all.size())))];
  }
  void store(int output, uint8_t from) {
    const Operand& operand = program.operands[size_t(program.inputs + output)];
    code.push_back(
        {Opcode::kStore, 0, from, uint8_t(output), 0, registerTypeOf(operand.format), 0, 0});
  }
  /// A register of that type, cast from another where there is none.
  uint8_t want(RegisterType type) {
    if (holds(type)) return held(type);
    for (const RegisterType from : {RegisterType::kF32, RegisterType::kI32, RegisterType::kF64})
      if (holds(from)) return emit(Opcode::kCast, type, held(from), uint8_t(from), 0);
    return emit(Opcode::kConstant, type, 0, 0, 0, below(7) - 3);
  }

  TestProgram finish(std::string about) {
    program.about = std::move(about);
    const ElementwiseParams params = {int32_t(code.size()), registers};
    program.params.resize(sizeof params + code.size() * sizeof(Instruction));
    std::memcpy(program.params.data(), &params, sizeof params);
    std::memcpy(program.params.data() + sizeof params, code.data(),
                code.size() * sizeof(Instruction));
    for (size_t i = 0; i < program.operands.size(); i++)
      fill(program.operands[i], int(i) < program.inputs);
    program.shared.assign(program.operands.size() - size_t(program.inputs), -1);
    const OpCall call = program.call();
    const RegisteredOp* op = findOp("elementwise");
    if (const std::string problem = op->spec.check(call); !problem.empty())
      throw Error(code::kDevice, program.about + ": the guard refuses it: " + problem);
    for (int o = 0; o < call.outCount; o++)
      for (int i = 0; i < call.inCount && program.shared[size_t(o)] < 0; i++)
        if (op->spec.mayAlias(call, o, i) && chance(30) && !taken(i)) program.shared[size_t(o)] = i;
    return std::move(program);
  }

  enum { kContiguous, kBroadcast, kTransposed, kPadded, kScalar, kLayouts };

 private:
  bool taken(int input) const {
    return std::find(program.shared.begin(), program.shared.end(), input) != program.shared.end();
  }

  float number() {
    constexpr float kStrange[] = {0.0f,    -0.0f, 1.0f,    -1.0f,    0.5f,      1e-40f,
                                  -1e-40f, 3e38f, -3e38f,  INFINITY, -INFINITY, NAN,
                                  2.5f,    88.8f, -103.5f, 70000.0f};
    if (chance(15)) return pick(kStrange);
    const float unit = float(int32_t(random_())) * 0x1p-31f;
    constexpr float kScales[] = {1.0f, 1.0f, 4.0f, 4.0f, 30.0f, 1e5f, 1e20f, 1e-3f};
    return unit * pick(kScales);
  }

  void fill(const Operand& operand, bool input) {
    int64_t last = 0;
    for (int d = 0; d < operand.rank; d++) last += (operand.dims[d] - 1) * operand.strides[d];
    const size_t width = formatBytes(operand.format);
    auto& bytes = program.memory.emplace_back(operand.empty() ? 0 : size_t(last + 1) * width);
    for (size_t i = 0; i < bytes.size() / width; i++) {
      uint64_t bits = uint64_t(random_()) << 32 | random_();
      if (input && registerTypeOf(operand.format) != RegisterType::kI32) {
        const float x = number();
        switch (operand.format) {
          case Format::f32:
            bits = std::bit_cast<uint32_t>(x);
            break;
          case Format::f64:
            bits = std::bit_cast<uint64_t>(double(x));
            break;
          case Format::bf16:
            bits = narrowBf16(std::bit_cast<uint32_t>(x));
            break;
          default:
            bits = narrowF16(std::bit_cast<uint32_t>(x));
        }
      } else if (input && chance(60)) {
        bits = uint64_t(int64_t(below(9) - 4));
      }
      if (input && operand.format == Format::boolean) bits &= 1;
      std::memcpy(bytes.data() + i * width, &bits, width);
    }
  }

  std::mt19937 random_;
  std::vector<int64_t> dims_;
  std::vector<uint8_t> held_[kRegisterTypeCount];
};

constexpr Format kFormats[] = {Format::f32, Format::bf16, Format::f16,     Format::i32,
                               Format::u8,  Format::i8,   Format::boolean, Format::i64};

/// Rounded alike by every processor.
bool isExact(Opcode op, RegisterType type) {
  if (type == RegisterType::kI32) return true;
  if (op == Opcode::kSqrt || op == Opcode::kRem || op == Opcode::kFloor || op == Opcode::kCeil ||
      op == Opcode::kRound)
    return true;
  return !isFloatOnly(op);
}

struct Single {
  Opcode op;
  RegisterType type;
  Format in, out;
};

/// Every instruction on f32 and i32; every format to and from every register type.
const std::vector<Single>& singles() {
  static const std::vector<Single> all = [] {
    std::vector<Single> made;
    for (int o = int(Opcode::kSelect); o < kOpcodeCount; o++) {
      const auto op = Opcode(o);
      made.push_back(
          {op, RegisterType::kF32, Format::f32, isComparison(op) ? Format::boolean : Format::f32});
      if (!isFloatOnly(op)) made.push_back({op, RegisterType::kI32, Format::i32, Format::i32});
    }
    for (const Format in : kFormats)
      for (const Format out : {Format::f32, Format::bf16, Format::f16, Format::i32, Format::u8,
                               Format::boolean, Format::i64})
        made.push_back({Opcode::kCast, registerTypeOf(out), in, out});
    return made;
  }();
  return all;
}

}  // namespace

OpCall TestProgram::call() const {
  return {params.data(),
          params.size(),
          operands.data(),
          inputs,
          operands.data() + inputs,
          int(operands.size()) - inputs};
}

void TestProgram::place(std::vector<std::vector<std::byte>>& buffers) {
  buffers.resize(operands.size());
  for (size_t i = 0; i < operands.size(); i++) {
    const int on = i < size_t(inputs) ? -1 : shared[i - size_t(inputs)];
    if (on >= 0) {
      operands[i].data = operands[size_t(on)].data;
      continue;
    }
    // Some begin one element after an aligned place.
    const size_t shift = (memory[i].size() + i) % 5 == 0 ? formatBytes(operands[i].format) : 0;
    buffers[i].assign(memory[i].size() + 2 * kAlignment, std::byte(0));
    const size_t skip = kAlignment - reinterpret_cast<uintptr_t>(buffers[i].data()) % kAlignment;
    std::byte* const begin = buffers[i].data() + skip + shift;
    std::memcpy(begin, memory[i].data(), memory[i].size());
    operands[i].data = begin;
  }
}

Shape TestProgram::shape(bool hasBf16) const {
  const OpCall call = this->call();
  return shapeOf(call, figment::elementwise::mergeDimensions(call), codeOf(call),
                 busy ? 1 : int64_t(1) << 40, hasBf16);
}

int singlePrograms() { return int(singles().size()); }

TestProgram singleProgram(int index) {
  const auto [op, type, in, out] = singles()[size_t(index)];
  Maker maker(uint32_t(1000 + index));
  maker.shapeOf({index % 2 ? 1029 : 1024});
  const bool cast = op == Opcode::kCast, select = op == Opcode::kSelect;
  const int count = cast ? 1 : sourceCount(op);
  for (int i = 0; i < count; i++)
    maker.operand(select && i == 0 ? Format::boolean : in, true, Maker::kContiguous);
  maker.operand(out, false, Maker::kContiguous);
  uint8_t sources[3] = {};
  for (int i = 0; i < count; i++)
    sources[i] = maker.emit(Opcode::kLoad, registerTypeOf(maker.program.operands[size_t(i)].format),
                            uint8_t(i), 0, 0);
  if (cast) sources[1] = uint8_t(registerTypeOf(in));
  maker.store(0, maker.emit(op, type, sources[0], sources[1], sources[2]));
  maker.program.exact = isExact(op, type);
  maker.program.busy = index % 3 == 0;
  return maker.finish("instruction " + std::to_string(int(op)) + " of type " +
                      std::to_string(int(type)) + " from format " + std::to_string(int(in)) +
                      " to " + std::to_string(int(out)));
}

TestProgram randomProgram(uint32_t seed, int most, bool doubles) {
  Maker maker(seed);
  constexpr int64_t kDims[] = {1, 2, 3, 4, 5, 7, 8, 12, 16, 17, 40, 64, 129};
  std::vector<int64_t> dims(size_t(maker.below(5)));
  int64_t elements = 1;
  for (int64_t& dim : dims) {
    dim = maker.pick(kDims);
    if (elements * dim > 4000) dim = 1;
    elements *= dim;
  }
  if (maker.chance(20)) dims = {maker.chance(50) ? 4096 : 3001};
  maker.shapeOf(dims);
  const int inputs = most > 100 ? maker.below(kMaxInputs + 1) : maker.below(5);
  const int outputs = 1 + maker.below(most > 100 ? kMaxOutputs : 2);
  const bool flat = maker.chance(40);
  const auto format = [&] {
    return doubles && maker.chance(30) ? Format::f64
           : maker.chance(50)          ? Format::f32
                                       : maker.pick(kFormats);
  };
  const auto layout = [&](bool input) {
    if (flat) return input && maker.chance(20) ? Maker::kScalar : Maker::kContiguous;
    return decltype(Maker::kContiguous)(maker.below(Maker::kLayouts));
  };
  for (int i = 0; i < inputs; i++) maker.operand(format(), true, layout(true));
  for (int o = 0; o < outputs; o++) maker.operand(format(), false, layout(false));
  for (int i = 0; i < inputs; i++)
    maker.emit(Opcode::kLoad, registerTypeOf(maker.program.operands[size_t(i)].format), uint8_t(i),
               0, 0);
  const bool exact = maker.program.exact = maker.chance(50);
  const int steps = 1 + maker.below(most);
  for (int s = 0; s < steps; s++) {
    const auto type = maker.chance(60)              ? RegisterType::kF32
                      : doubles && maker.chance(50) ? RegisterType::kF64
                                                    : RegisterType::kI32;
    const auto op = Opcode(int(Opcode::kConstant) + maker.below(kOpcodeCount - 2));
    if (type == RegisterType::kI32 && isFloatOnly(op)) continue;
    if (exact && !isExact(op, type)) continue;
    if (op == Opcode::kConstant) {
      const double imm =
          type == RegisterType::kI32 ? maker.below(9) - 4 : maker.below(900) * 0.01 - 4;
      maker.emit(op, type, 0, 0, 0, imm);
    } else if (op == Opcode::kCast) {
      const auto from = RegisterType(maker.below(kRegisterTypeCount));
      if (!maker.holds(from) || (!doubles && from == RegisterType::kF64)) continue;
      maker.emit(op, type, maker.held(from), uint8_t(from), 0);
    } else if (op == Opcode::kSelect) {
      const uint8_t condition = maker.want(RegisterType::kI32);
      const uint8_t a = maker.want(type), b = maker.want(type);
      // What was asked for first may have been overwritten by a cast since.
      if (maker.registers < kMaxRegisters) maker.emit(op, type, condition, a, b);
    } else {
      const uint8_t a = maker.want(type);
      maker.emit(op, type, a, sourceCount(op) > 1 ? maker.held(type) : uint8_t(0), 0);
    }
  }
  for (int o = 0; o < outputs; o++)
    maker.store(o, maker.want(registerTypeOf(maker.program.operands[size_t(inputs + o)].format)));
  maker.program.busy = seed % 2 == 0;
  return maker.finish("random program " + std::to_string(seed));
}

std::vector<TestProgram> printedPrograms() {
  std::vector<TestProgram> programs;
  for (int i = 0; i < singlePrograms(); i++) programs.push_back(singleProgram(i));
  for (int i = 0; i < kPrintedRandom; i++)
    programs.push_back(randomProgram(uint32_t(i), kPrintedInstructions, false));
  return programs;
}

}  // namespace figment::cuda::elementwise
