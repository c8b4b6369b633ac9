// argReduce: (x [outer, axis, inner]) -> i32[outer, inner], the place of the greatest or least
// element along the axis: the first of several, and the first NaN where there is one.
#include "../norm/dense_check.h"
#include "../op_spec.h"
#include "../params/argReduce.generated.h"
#include "arg_reduce.h"

namespace figment {
namespace {

std::string check(const OpCall& call) {
  const auto& p = call.as<ArgReduceParams>();
  DenseCheck check("argReduce", call, 1, 1);
  const Format format = check.ok() ? call.in[0].format : Format::f32;
  return check
      .require(format == Format::f32 || format == Format::f64 || format == Format::i32,
               "computes in f32, f64 or i32 only")
      .require(p.kind == kArgMax || p.kind == kArgMin, "unknown kind")
      .require(p.axis >= 1 && p.axis <= INT32_MAX, "the axis must have 1 to 2^31 - 1 elements")
      .input(0, "x", format, {p.outer, p.axis, p.inner})
      .output(0, "y", Format::i32, {p.outer, p.inner})
      .done();
}

const RegisterOp registerOp{
    specOf<ArgReduceParams>("argReduce", check, neverAliases, costOfElements)};

}  // namespace
}  // namespace figment
