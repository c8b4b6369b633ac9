#include "widened.h"

#include <vector>

#include "simd/half.h"

namespace figment {
namespace {

bool isHalf(Format format) { return format == Format::bf16 || format == Format::f16; }

std::vector<float> widen(const Operand& operand) {
  std::vector<float> values(static_cast<size_t>(operand.elements()));
  const uint16_t* bits = operand.as<const uint16_t>();
  for (size_t i = 0; i < values.size(); i++)
    values[i] =
        fromBits(operand.format == Format::bf16 ? uint32_t(bits[i]) << 16 : widenF16(bits[i]));
  return values;
}

void narrow(const std::vector<float>& values, const Operand& operand) {
  uint16_t* bits = operand.as<uint16_t>();
  for (size_t i = 0; i < values.size(); i++)
    bits[i] = operand.format == Format::bf16 ? narrowBf16(toBits(values[i]))
                                             : narrowF16(toBits(values[i]));
}

}  // namespace

void runWidened(const OpCall& call, Context& context, void (*single)(const OpCall&, Context&),
                void (*wide)(const OpCall&, Context&)) {
  if (call.out[0].format == Format::f64) {
    wide(call, context);
    return;
  }
  std::vector<Operand> in(call.in, call.in + call.inCount);
  std::vector<Operand> out(call.out, call.out + call.outCount);
  std::vector<std::vector<float>> held;
  held.reserve(in.size() + out.size());
  for (Operand& operand : in) {
    if (!isHalf(operand.format)) continue;
    operand.data = held.emplace_back(widen(operand)).data();
    operand.format = Format::f32;
  }
  const size_t results = held.size();
  for (Operand& operand : out) {
    if (!isHalf(operand.format)) continue;
    operand.data = held.emplace_back(static_cast<size_t>(operand.elements())).data();
    operand.format = Format::f32;
  }
  OpCall widened = call;
  widened.in = in.data();
  widened.out = out.data();
  single(widened, context);
  size_t next = results;
  for (int i = 0; i < call.outCount; i++)
    if (isHalf(call.out[i].format)) narrow(held[next++], call.out[i]);
}

std::string floatFormatProblem(const OpCall& call, int inputs) {
  const auto each = [&](auto&& accept) {
    for (int i = 0; i < inputs; i++)
      if (!accept(call.in[i].format)) return false;
    for (int i = 0; i < call.outCount; i++)
      if (!accept(call.out[i].format)) return false;
    return true;
  };
  if (each([](Format format) { return format == Format::f64; })) return "";
  if (each([](Format format) { return format == Format::f32 || isHalf(format); })) return "";
  return "operands must be f32, bf16 or f16, or all f64";
}

}  // namespace figment
