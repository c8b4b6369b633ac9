// flip: x of any shape and format -> the same elements with the order along some axes reversed.
#include <string>

#include "../op_spec.h"
#include "../params/flip.generated.h"

namespace figment {
namespace {

std::string check(const OpCall& call) {
  if (call.inCount != 1 || call.outCount != 1) return "flip needs one input and one output";
  const Operand &x = call.in[0], &y = call.out[0];
  const int32_t axes = call.as<FlipParams>().axes;
  if (x.format != y.format) return "flip: formats differ";
  if (x.rank > kMaxRank || x.rank != y.rank) return "flip: ranks differ";
  for (int i = 0; i < x.rank; i++)
    if (x.dims[i] != y.dims[i]) return "flip: shapes differ";
  if (!x.contiguous() || !y.contiguous()) return "flip: operands must be contiguous";
  if (axes < 0 || axes >= 1 << x.rank) return "flip: axes that the operands do not have";
  return "";
}

const RegisterOp registerFlip{
    specOf<FlipParams>("flip", check, neverAliases, [](const OpCall& call) {
      return Cost{0, operandBytes(call)};
    })};

}  // namespace
}  // namespace figment
