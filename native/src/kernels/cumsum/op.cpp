// cumsum: (x [outer, axis, inner]) -> running sums along the axis, from its end when `reverse`,
// without the element itself when `exclusive`. f32 and f64 run in f64; i32 wraps.
#include "../norm/dense_check.h"
#include "../op_spec.h"
#include "../params/cumsum.generated.h"

namespace figment {
namespace {

std::string check(const OpCall& call) {
  const auto& p = call.as<CumsumParams>();
  DenseCheck check("cumsum", call, 1, 1);
  const Format format = check.ok() ? call.in[0].format : Format::f32;
  return check
      .require(format == Format::f32 || format == Format::f64 || format == Format::i32,
               "computes in f32, f64 or i32 only")
      .input(0, "x", format, {p.outer, p.axis, p.inner})
      .output(0, "y", format, {p.outer, p.axis, p.inner})
      .done();
}

const RegisterOp registerOp{specOf<CumsumParams>(
    "cumsum", check, [](const OpCall&, int, int) { return true; }, costOfElements)};

}  // namespace
}  // namespace figment
