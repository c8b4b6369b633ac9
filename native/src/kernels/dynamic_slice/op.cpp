// dynamicSlice: (x, starts i32[rank]) -> the box of x with the output's extents that starts there.
// dynamicUpdateSlice: (x, update, starts i32[rank]) -> x with the box at starts replaced by update;
// in place when out lies where x does. Elements of any format. A start is clamped to [0, dim −
// size], so that the box always lies inside.
#include <string>

#include "../op_spec.h"
#include "../params/dynamicSlice.generated.h"
#include "../params/dynamicUpdateSlice.generated.h"

namespace figment {
namespace {

std::string checkBox(const Operand& whole, const Operand& part, const Operand& starts,
                     int32_t rank) {
  if (rank < 0 || rank > kMaxRank) return "rank out of range";
  if (whole.rank != rank || part.rank != rank) return "operands do not have the rank given";
  if (starts.format != Format::i32 || !starts.contiguous() || !starts.hasShape({rank}))
    return "starts are a contiguous i32[rank]";
  if (whole.format != part.format) return "formats differ";
  if (!whole.contiguous() || !part.contiguous()) return "operands are contiguous";
  for (int i = 0; i < rank; i++)
    if (part.dims[i] > whole.dims[i]) return "the box is larger than the tensor";
  return "";
}

std::string checkSlice(const OpCall& call) {
  if (call.inCount != 2 || call.outCount != 1) return "needs two inputs and one output";
  return checkBox(call.in[0], call.out[0], call.in[1], call.as<DynamicSliceParams>().rank);
}

std::string checkUpdate(const OpCall& call) {
  if (call.inCount != 3 || call.outCount != 1) return "needs three inputs and one output";
  const Operand &x = call.in[0], &out = call.out[0];
  const int32_t rank = call.as<DynamicUpdateSliceParams>().rank;
  if (const std::string problem = checkBox(x, call.in[1], call.in[2], rank); !problem.empty())
    return problem;
  if (out.format != x.format || out.rank != rank || !out.contiguous())
    return "output is a contiguous tensor like x";
  for (int i = 0; i < rank; i++)
    if (out.dims[i] != x.dims[i]) return "output is not of x's shape";
  return "";
}

double bytesOf(const Operand& operand) {
  return double(operand.elements()) * double(formatBytes(operand.format));
}

const RegisterOp registerSlice{
    specOf<DynamicSliceParams>("dynamicSlice", checkSlice, neverAliases, [](const OpCall& call) {
      return Cost{0, 2 * bytesOf(call.out[0])};
    })};
const RegisterOp registerUpdate{specOf<DynamicUpdateSliceParams>(
    "dynamicUpdateSlice", checkUpdate, [](const OpCall&, int, int in) { return in == 0; },
    [](const OpCall& call) {
      return Cost{0, operandBytes(call)};
    })};

}  // namespace
}  // namespace figment
