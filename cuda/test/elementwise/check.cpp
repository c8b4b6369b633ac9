// Runs the tests' programs on the emulator, by the kernels that were printed for them and by the
// interpreter, and compares with the CPU's plain one.
#include <cuda_runtime.h>

#include <cmath>
#include <cstdio>
#include <cstring>

#include "device/launch.h"
#include "device/math.h"
#include "programs.h"
#include "runtime/error.h"

// Apart from the emitters, whose functions have the kernels' names.
namespace figment::cuda::printed {
namespace {

using elementwise::Arguments;

struct Views {
  Global<uint8_t> view[figment::elementwise::kMaxOperands];
};
int32_t word32(const Arguments& arguments, int offset) {
  int32_t word;
  std::memcpy(&word, arguments.bytes + offset, sizeof word);
  return word;
}
uint64_t word64(const Arguments& arguments, int offset) {
  uint64_t word;
  std::memcpy(&word, arguments.bytes + offset, sizeof word);
  return word;
}
using Kernel = void (*)(Arguments, Views);

#include "elementwise.cpp.inc"

}  // namespace
}  // namespace figment::cuda::printed

namespace figment::cuda::elementwise {
namespace {

using printed::Kernel;
using printed::Views;
using Buffers = std::vector<std::vector<std::byte>>;

/// For variants of the CPU.
class PlainContext final : public Context {
 public:
  void parallel(int64_t count, int64_t, Body body, void* closure) override {
    body(closure, 0, count, 0);
  }
  int threads() const override { return 1; }
  std::byte* scratch() const override { return nullptr; }
  void fail(const char*, const std::string& message) override {
    throw Error(code::kDevice, message);
  }
};

const RegisteredVariant& variantNamed(std::string_view name) {
  for (const RegisteredVariant& variant : findOp("elementwise")->variants)
    if (variant.name == name) return variant;
  throw Error(code::kDevice, "no such variant");
}

/// The outputs' memory, whole: what lies between their elements must stay as it was.
Buffers outputsOf(const TestProgram& program) {
  Buffers outputs;
  for (size_t i = size_t(program.inputs); i < program.operands.size(); i++) {
    const auto* from = program.operands[i].as<std::byte>();
    outputs.emplace_back(from, from + program.memory[i].size());
  }
  return outputs;
}

Buffers runReference(TestProgram program) {
  Buffers buffers;
  program.place(buffers);
  PlainContext context;
  variantNamed("reference").run(program.call(), context);
  return outputsOf(program);
}

Buffers runInterpreter(TestProgram program, cudaStream_t stream) {
  Buffers buffers;
  program.place(buffers);
  Launcher launcher(stream, nullptr, nullptr, 4, 48 * 1024);
  launcher.setRecord(0, "elementwise");
  variantNamed("interpreter").run(program.call(), launcher);
  return outputsOf(program);
}

Buffers runPrinted(TestProgram program, Kernel kernel) {
  Buffers buffers;
  program.place(buffers);
  if (program.operands.back().empty()) return outputsOf(program);
  const OpCall call = program.call();
  const auto space = figment::elementwise::mergeDimensions(call);
  const Shape shape = program.shape(true);
  const Rows rows = rowsOf(space, shape.perGroup);
  std::vector<Strides> strides;
  Views views;
  for (size_t i = 0; i < program.operands.size(); i++) {
    strides.push_back(stridesOf(space, int(i)));
    const Operand& operand = program.operands[i];
    int64_t last = 0;
    for (int d = 0; d < operand.rank; d++) last += (operand.dims[d] - 1) * operand.strides[d];
    views.view[i] = {operand.as<uint8_t>(), (last + 1) * int64_t(formatBytes(operand.format))};
  }
  const Arguments arguments = argumentsOf(shape, rows, program.operands, strides, false);
  constexpr int kThreads = 64;
  const int64_t blocks = ceilDiv(rows.groups, int64_t(kThreads) * shape.groups);
  emulator::runGrid({uint32_t(blocks), 1, 1}, 1, kThreads, 0, program.about.c_str(),
                    [&] { kernel(arguments, views); });
  return outputsOf(program);
}

double numberAt(const std::vector<std::byte>& bytes, Format format, size_t i) {
  const auto as = [&]<class T>(T value) {
    std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
    return value;
  };
  switch (format) {
    case Format::f32:
      return as(0.0f);
    case Format::f64:
      return as(0.0);
    case Format::bf16:
      return std::bit_cast<float>(uint32_t(as(uint16_t(0))) << 16);
    case Format::f16:
      return std::bit_cast<float>(widenF16(as(uint16_t(0))));
    case Format::i32:
      return as(int32_t(0));
    case Format::i64:
      return double(as(int64_t(0)));
    default:
      return as(uint8_t(0));
  }
}

/// Equal bits, or both NaN, or no more than `units` of 2^-23 max(|y|, 0.1) apart.
bool near(double actual, double expected, double units) {
  if (std::isnan(expected)) return std::isnan(actual);
  if (actual == expected) return std::signbit(actual) == std::signbit(expected);
  return std::isfinite(expected) &&
         std::fabs(actual - expected) <= units * 0x1p-23 * std::fmax(std::fabs(expected), 0.1);
}

int failures = 0;

void compare(const TestProgram& program, const char* who, const Buffers& actual,
             const Buffers& expected, double units) {
  for (size_t o = 0; o < expected.size(); o++) {
    const Format format = program.operands[size_t(program.inputs) + o].format;
    for (size_t i = 0; i < expected[o].size() / formatBytes(format); i++) {
      const double a = numberAt(actual[o], format, i), e = numberAt(expected[o], format, i);
      if (near(a, e, units)) continue;
      std::printf("%s, %s, output %zu, element %zu: %.9g, expected %.9g\n", program.about.c_str(),
                  who, o, i, a, e);
      failures++;
      break;
    }
  }
}

/// Of instructions that are not exact, alone: what docs and parity tests allow.
constexpr double kFunctionUnits = 8;

void checkAll() {
  cudaStream_t stream = nullptr;
  cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  const std::vector<TestProgram> programs = printedPrograms();
  for (size_t i = 0; i < programs.size(); i++) {
    const TestProgram& program = programs[i];
    const Buffers printed = runPrinted(program, printed::kKernels[i]);
    // The same operations in the same order as the interpreter's.
    const Buffers interpreted = runInterpreter(program, stream);
    compare(program, "printed, as the interpreter has it", printed, interpreted, 0);
    const bool single = int(i) < singlePrograms();
    if (program.exact || single)
      compare(program, "printed", printed, runReference(program),
              program.exact ? 0 : kFunctionUnits);
  }
  int long_ = 0;
  for (uint32_t seed = 5000; seed < 5150; seed++) {
    const TestProgram program = randomProgram(seed, seed % 3 == 0 ? 800 : 40, true);
    if (!program.exact) continue;
    compare(program, "interpreter", runInterpreter(program, stream), runReference(program), 0);
    long_++;
  }
  std::printf("%zu printed programs, %d interpreted ones: %d differ\n", programs.size(), long_,
              failures);
}

}  // namespace
}  // namespace figment::cuda::elementwise

int main() {
  figment::cuda::elementwise::checkAll();
  return figment::cuda::elementwise::failures == 0 ? 0 : 1;
}
