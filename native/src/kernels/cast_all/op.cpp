// castAll: many tensors at once, each into a format of its own: between f32, bf16 and f16 rounded
// to nearest even, otherwise copied. The casts of a step's weights and the copies of what it writes
// to states are one record each.
#include "../op_spec.h"
#include "../optimizer/groups.h"
#include "../params/castAll.generated.h"

namespace figment {
namespace {

bool isSmallFloat(Format format) {
  return format == Format::f32 || format == Format::bf16 || format == Format::f16;
}

std::string check(const OpCall& call) {
  const int64_t count = call.as<CastAllParams>().count;
  DenseCheck check("castAll", call, count, count);
  check.require(countInRange(int32_t(count)), "count is out of range");
  for (int64_t i = 0; i < count && check.ok(); i++) {
    const Format from = call.in[i].format, to = call.out[i].format;
    check.require(from == to || (isSmallFloat(from) && isSmallFloat(to)),
                  "formats are equal, or both f32, bf16 or f16");
    const int64_t size = flatSize(call.in[i]);
    check.input(i, "x", from, {size}).output(i, "y", to, {size});
  }
  return check.done();
}

Cost cost(const OpCall& call) { return {outputElements(call), operandBytes(call)}; }

const RegisterOp registration{specOf<CastAllParams>("castAll", check, neverAliases, cost)};

}  // namespace
}  // namespace figment
