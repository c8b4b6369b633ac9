// The register code's interpreter: every thread takes a group of neighbouring elements through the
// whole program, one instruction after the other. Registers lie in shared memory, 16 bytes for each
// thread, so that one access without bank conflicts moves a group's: four elements of 32 bits, or
// two of 64 where the program has f64. An instruction is decoded once for all of them, and what it
// costs besides is two or three such accesses. The program travels as the kernel's parameter.
#include "../../device/launch.h"
#include "code.h"
#include "interpreter.h"
#include "opcodes.h"

namespace figment::cuda::elementwise {
namespace {

using figment::elementwise::mergeDimensions;
using figment::elementwise::Space;

constexpr int kMostThreads = 128;
constexpr size_t kMostShared = 48 * 1024;
struct Step {
  Opcode op;
  uint8_t dst, a, b, c;
  RegisterType type, from;
  uint64_t bits;  ///< of a constant
};

/// Parameters of up to 4 KiB start fastest; the device takes 32,764 bytes.
template <int accesses, int steps>
struct Program {
  Rows rows;
  int stepCount;
  int outputs;
  int inputs;
  uint8_t stored[kMaxOutputs];  ///< the register of each output
  Access access[accesses];      ///< inputs first
  Step step[steps];
};
using SmallProgram = Program<6, 180>;
using LargeProgram = Program<kMaxInputs + kMaxOutputs, kMaxInstructions>;
static_assert(sizeof(LargeProgram) <= 32764);

FIGMENT_DEVICE int64_t placeOf(const Access& access, const int64_t (&at)[kMaxOuter],
                               int64_t within) {
  int64_t place = within * access.strides.inner;
  FIGMENT_UNROLL
  for (int d = 0; d < kMaxOuter; d++) place += at[d] * access.strides.outer[d];
  return place;
}

template <bool wide, class P>
FIGMENT_KERNEL(kMostThreads)
interpretKernel(const FIGMENT_GRID_CONSTANT P program, int registers) {
  using G = Group<wide>;
  FIGMENT_DYNAMIC_SHARED(memory);
  const auto words = memory.view<uint32_t>(0, registers * int(blockDim.x) * kRegisterWords);
  const auto read = [&](int index) {
    const auto quad =
        words.template load<uint4>((index * int(blockDim.x) + int(threadIdx.x)) * kRegisterWords);
    return G{{quad.x, quad.y, quad.z, quad.w}};
  };
  const Rows& rows = program.rows;
  for (int64_t g = threadInGrid(); g < rows.groups; g += threadsOfGrid()) {
    int64_t at[kMaxOuter];
    const int64_t within = rows.locate(g, G::kElements, at);
    const int64_t left = rows.length - within;
    const int count = left < G::kElements ? int(left) : G::kElements;
    for (int s = 0; s < program.stepCount; s++) {
      const Step& step = program.step[s];
      G y = {};
      if (step.op == Opcode::kLoad) {
        const Access& access = program.access[step.a];
        loadGroup(access, placeOf(access, at, within), count, y);
      } else if (step.op == Opcode::kConstant) {
        FIGMENT_UNROLL
        for (int i = 0; i < kRegisterWords; i++)
          y.words[i] = uint32_t(wide && i % 2 == 1 ? step.bits >> 32 : step.bits);
      } else {
        const G a = read(step.a);
        if (step.op == Opcode::kCast)
          cast(step.from, step.type, a, y);
        else if (step.op == Opcode::kSelect)
          choose(a, read(step.b), read(step.c), y);
        else if (step.type == RegisterType::kF32)
          floating<float>(step.op, a, read(step.b), y);
        else if (step.type == RegisterType::kI32)
          integer(step.op, a, read(step.b), y);
        else if constexpr (wide)
          floating<double>(step.op, a, read(step.b), y);
      }
      words.template store<uint4>((step.dst * int(blockDim.x) + int(threadIdx.x)) * kRegisterWords,
                                  uint4{y.words[0], y.words[1], y.words[2], y.words[3]});
    }
    for (int o = 0; o < program.outputs; o++) {
      const Access& access = program.access[program.inputs + o];
      storeGroup(access, placeOf(access, at, within), count, read(program.stored[o]));
    }
  }
}

uint64_t bitsOfConstant(const Value& value) {
  switch (value.type) {
    case RegisterType::kF32:
      return std::bit_cast<uint32_t>(float(value.constant));
    case RegisterType::kI32:
      return uint32_t(int32_t(value.constant));
    default:
      return std::bit_cast<uint64_t>(value.constant);
  }
}

template <bool wide, class P>
void runAs(const OpCall& call, const Code& code, Launcher& launcher) {
  const Space space = mergeDimensions(call);
  const Allocation allocation = allocateRegisters(code);
  P program = {};
  program.rows = rowsOf(space, Group<wide>::kElements);
  program.stepCount = int(code.values.size());
  program.inputs = call.inCount;
  program.outputs = call.outCount;
  for (int i = 0; i < call.inCount + call.outCount; i++) {
    const Operand& operand = i < call.inCount ? call.in[i] : call.out[i - call.inCount];
    const Strides strides = stridesOf(space, i);
    const auto bytes = viewOf<uint8_t>(operand).count() * int64_t(formatBytes(operand.format));
    program.access[i] = {Global<uint8_t>(operand.as<uint8_t>(), bytes), strides, operand.format,
                         aligned(program.rows, strides, operand, Group<wide>::kElements)};
  }
  for (size_t i = 0; i < code.values.size(); i++) {
    const Value& value = code.values[i];
    uint8_t sources[3] = {};
    const int count = figment::elementwise::sourceCount(value.op);
    for (int s = 0; s < count; s++)
      sources[s] = uint8_t(allocation.registers[size_t(value.sources[s])]);
    if (value.op == Opcode::kLoad) sources[0] = uint8_t(value.sources[0]);
    if (count == 1) sources[1] = sources[0];
    program.step[i] = {value.op,   uint8_t(allocation.registers[i]),
                       sources[0], sources[1],
                       sources[2], value.type,
                       value.from, value.op == Opcode::kConstant ? bitsOfConstant(value) : 0};
  }
  for (int o = 0; o < call.outCount; o++)
    program.stored[o] = uint8_t(allocation.registers[size_t(code.stores[size_t(o)])]);

  int threads = kMostThreads;
  const auto bytes = [&] { return size_t(allocation.count) * size_t(threads) * kRegisterBytes; };
  while (bytes() > kMostShared) threads /= 2;
  launch<interpretKernel<wide, P>>(launcher, gridFor(launcher, program.rows.groups, threads),
                                   threads, bytes(), program, allocation.count);
}

template <class P>
void runSized(const OpCall& call, const Code& code, Launcher& launcher) {
  if (code.hasDoubles())
    runAs<true, P>(call, code, launcher);
  else
    runAs<false, P>(call, code, launcher);
}

}  // namespace

void interpret(const OpCall& call, const Code& code, Launcher& launcher) {
  const bool small = code.values.size() <= std::size(SmallProgram{}.step) &&
                     size_t(call.inCount + call.outCount) <= std::size(SmallProgram{}.access);
  if (small)
    runSized<SmallProgram>(call, code, launcher);
  else
    runSized<LargeProgram>(call, code, launcher);
}

namespace {

void run(const OpCall& call, Context& context) {
  if (!call.out[0].empty()) interpret(call, codeOf(call), launcherOf(context));
}

const RegisterVariant registrar{{.op = "elementwise",
                                 .name = "interpreter",
                                 .isa = Isa::sm75,
                                 .supports = [](const OpCall&) { return kReferencePreference; },
                                 .scratch = nullptr,
                                 .run = run}};

}  // namespace
}  // namespace figment::cuda::elementwise
