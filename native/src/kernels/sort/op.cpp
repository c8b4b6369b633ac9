// sort: (x [rows, cols]) -> (values [rows, count], indices i32[rows, count]), the first `count` of
// each row in ascending or descending order. Equal elements keep their order; NaN comes last either
// way.
#include "../norm/dense_check.h"
#include "../op_spec.h"
#include "../params/sort.generated.h"

namespace figment {
namespace {

std::string check(const OpCall& call) {
  const auto& p = call.as<SortParams>();
  DenseCheck check("sort", call, 1, 2);
  const Format format = check.ok() ? call.in[0].format : Format::f32;
  return check
      .require(format == Format::f32 || format == Format::f64 || format == Format::i32,
               "orders f32, f64 or i32 only")
      .require(p.cols <= INT32_MAX, "rows longer than an i32 can index")
      .require(p.count >= 0 && p.count <= p.cols, "count beyond the row")
      .input(0, "x", format, {p.rows, p.cols})
      .output(0, "values", format, {p.rows, p.count})
      .output(1, "indices", Format::i32, {p.rows, p.count})
      .done();
}

/// A comparison for each level of the sort.
Cost costOf(const OpCall& call) {
  const auto& p = call.as<SortParams>();
  int levels = 1;
  while (levels < 62 && int64_t{1} << levels < p.count) levels++;
  return {.flops = double(call.in[0].elements()) * levels, .bytes = operandBytes(call)};
}

const RegisterOp registerOp{specOf<SortParams>("sort", check, neverAliases, costOf)};

}  // namespace
}  // namespace figment
