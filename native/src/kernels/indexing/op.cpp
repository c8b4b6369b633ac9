// gather: (x [outer, axis, inner], indices i32[count]) -> [outer, count, inner], elements of any
// format. scatterAdd: (updates [outer, count, inner], indices) -> [outer, axis, inner], zero where
// nothing is added; several updates of one place are added in the order of the indices.
#include <string>

#include "../op_spec.h"
#include "../params/gather.generated.h"
#include "../params/scatterAdd.generated.h"
#include "rows.h"

namespace figment::indexing {
namespace {

bool holds(const Operand& operand, int64_t outer, int64_t middle, int64_t inner) {
  int64_t elements;
  if (__builtin_mul_overflow(outer, middle, &elements)) return false;
  if (__builtin_mul_overflow(elements, inner, &elements)) return false;
  return operand.contiguous() && operand.elements() == elements;
}

/// `whole` is the operand with the indexed axis, `picked` the one with an entry for each index.
template <class P>
std::string checkShapes(const OpCall& call, const Operand& whole, const Operand& picked) {
  const P& p = call.as<P>();
  if (p.outer < 0 || p.axis < 0 || p.inner < 0 || p.count < 0) return "negative dimension";
  if (p.axis > INT32_MAX) return "axis longer than an i32 can index";
  const Operand& indices = call.in[1];
  if (indices.format != Format::i32 || !indices.contiguous() || indices.elements() != p.count)
    return "indices are a contiguous i32[count]";
  if (!holds(whole, p.outer, p.axis, p.inner)) return "indexed operand is not [outer, axis, inner]";
  if (!holds(picked, p.outer, p.count, p.inner))
    return "other operand is not [outer, count, inner]";
  return "";
}

std::string checkGather(const OpCall& call) {
  if (call.inCount != 2 || call.outCount != 1) return "needs two inputs and one output";
  if (call.in[0].format != call.out[0].format) return "formats differ";
  return checkShapes<GatherParams>(call, call.in[0], call.out[0]);
}

std::string checkScatterAdd(const OpCall& call) {
  if (call.inCount != 2 || call.outCount != 1) return "needs two inputs and one output";
  const Format format = call.in[0].format;
  if (format != call.out[0].format) return "formats differ";
  if (format != Format::f32 && format != Format::f64) return "format must be f32 or f64";
  return checkShapes<ScatterAddParams>(call, call.out[0], call.in[0]);
}

const RegisterOp registerGather{
    specOf<GatherParams>("gather", checkGather, neverAliases, [](const OpCall& call) {
      // Only the picked rows are read.
      const double picked =
          double(call.out[0].elements()) * double(formatBytes(call.out[0].format));
      return Cost{.flops = 0, .bytes = 2 * picked + 4.0 * double(call.in[1].elements())};
    })};
const RegisterOp registerScatterAdd{
    specOf<ScatterAddParams>("scatterAdd", checkScatterAdd, neverAliases, costOfElements)};

}  // namespace
}  // namespace figment::indexing
