// reduce: sum, maximum or minimum over the axes of a bit mask; reduced dimensions stay as size 1.
// The empty sum is 0, the empty maximum and minimum the format's least and greatest value.
#include <string>

#include "../op_spec.h"
#include "../params/reduce.generated.h"
#include "shape.h"

namespace figment::reduce {
namespace {

std::string check(const OpCall& call) {
  if (call.inCount != 1 || call.outCount != 1) return "needs one input and one output";
  const Operand& x = call.in[0];
  const Operand& y = call.out[0];
  const ReduceParams& params = call.as<ReduceParams>();
  if (x.format != Format::f32 && x.format != Format::f64 && x.format != Format::i32)
    return "format must be f32, f64 or i32";
  if (y.format != x.format) return "formats differ";
  if (params.kind < 0 || params.kind > int32_t(Kind::kMin)) return "unknown kind of reduction";
  if (x.rank != y.rank) return "ranks differ";
  if (params.axes < 0 || params.axes >> x.rank != 0) return "axes beyond the rank";
  for (int d = 0; d < x.rank; d++) {
    if (x.dims[d] < 0) return "negative dimension";
    if (y.dims[d] != ((params.axes >> d & 1) != 0 ? 1 : x.dims[d]))
      return "output shape does not follow from the axes";
  }
  if (!x.contiguous() || !y.contiguous()) return "operands must be contiguous";
  return "";
}

const RegisterOp registerOp{specOf<ReduceParams>("reduce", check, neverAliases, costOfElements)};

}  // namespace
}  // namespace figment::reduce
