// takeAlong: (x [outer, axis, inner], indices i32[outer, count, inner]) -> [outer, count, inner],
// y[o,c,i] = x[o, indices[o,c,i], i], elements of any format. scatterAddAlong: (updates [outer,
// count, inner], indices of their shape) -> [outer, axis, inner], zero where nothing is added;
// several updates of one place are added in the order of c.
#include "../norm/dense_check.h"
#include "../op_spec.h"
#include "../params/scatterAddAlong.generated.h"
#include "../params/takeAlong.generated.h"

namespace figment {
namespace {

constexpr const char* kAxisRule = "axis longer than an i32 can index";

std::string checkTake(const OpCall& call) {
  const auto& p = call.as<TakeAlongParams>();
  DenseCheck check("takeAlong", call, 2, 1);
  const Format format = check.ok() ? call.in[0].format : Format::f32;
  return check.require(p.axis <= INT32_MAX, kAxisRule)
      .input(0, "x", format, {p.outer, p.axis, p.inner})
      .input(1, "indices", Format::i32, {p.outer, p.count, p.inner})
      .output(0, "y", format, {p.outer, p.count, p.inner})
      .done();
}

std::string checkScatter(const OpCall& call) {
  const auto& p = call.as<ScatterAddAlongParams>();
  DenseCheck check("scatterAddAlong", call, 2, 1);
  const Format format = check.floating(0);
  return check.require(p.axis <= INT32_MAX, kAxisRule)
      .input(0, "updates", format, {p.outer, p.count, p.inner})
      .input(1, "indices", Format::i32, {p.outer, p.count, p.inner})
      .output(0, "y", format, {p.outer, p.axis, p.inner})
      .done();
}

const RegisterOp take{
    specOf<TakeAlongParams>("takeAlong", checkTake, neverAliases, [](const OpCall& call) {
      // Only the picked elements are read.
      const double width = 4 + 2 * double(formatBytes(call.in[0].format));
      return Cost{.flops = 0, .bytes = width * double(call.out[0].elements())};
    })};
const RegisterOp scatter{
    specOf<ScatterAddAlongParams>("scatterAddAlong", checkScatter, neverAliases, costOfElements)};

}  // namespace
}  // namespace figment
