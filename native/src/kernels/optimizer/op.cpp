// Multi-tensor updates of whole parameter sets in one sweep.
//   adam: g ← g·gradScale (+ weightDecay·p when decoupled = 0), m ← β₁m + (1−β₁)g,
//     v ← β₂v + (1−β₂)g², p ← p(1 − lr·weightDecay when decoupled) − lr/(1−β₁ᵗ)·m /
//     (√v/√(1−β₂ᵗ) + eps)  (Kingma & Ba, 2015; Loshchilov & Hutter, 2019); when averaged = 1,
//     average ← decay·average + (1−decay)·p
//   emaUpdate: target ← decay·target + (1−decay)·source
//   sumSquares: Σ of all squares, for the global gradient norm
#include "../op_spec.h"
#include "../params/adam.generated.h"
#include "../params/emaUpdate.generated.h"
#include "../params/sumSquares.generated.h"
#include "groups.h"

namespace figment {
namespace {

/// lr, step, gradScale, and the decay of averages if there are any.
int32_t adamScalars(const AdamParams& p) { return 3 + p.averaged; }

std::string checkAdam(const OpCall& call) {
  const auto& p = call.as<AdamParams>();
  const int64_t count = p.count, averages = p.averaged == 1 ? 1 : 0;
  const int64_t scalars = 3 + averages, states = 2 + averages;
  DenseCheck check("adam", call, scalars + (2 + states) * count, (1 + states) * count);
  check.require(countInRange(p.count), "count is out of range")
      .require(p.decoupled == 0 || p.decoupled == 1, "decoupled is 0 or 1")
      .require(p.averaged == 0 || p.averaged == 1, "averaged is 0 or 1");
  checkGroups(check, call, scalars, count, states, check.floating(0));
  return check.done();
}

std::string checkEma(const OpCall& call) {
  const int64_t count = call.as<EmaUpdateParams>().count;
  DenseCheck check("emaUpdate", call, 1 + 2 * count, count);
  check.require(countInRange(int32_t(count)), "count is out of range");
  const Format format = check.floating(0);
  check.input(0, "decay", format, {});
  for (int64_t i = 0; i < count && check.ok(); i++) {
    const int64_t size = flatSize(call.in[1 + i]);
    check.input(1 + i, "target", format, {size})
        .input(1 + count + i, "source", format, {size})
        .output(i, "target'", format, {size});
  }
  return check.done();
}

std::string checkSumSquares(const OpCall& call) {
  const int64_t count = call.as<SumSquaresParams>().count;
  DenseCheck check("sumSquares", call, count, 1);
  check.require(countInRange(int32_t(count)), "count is out of range");
  const Format format = call.outCount == 1 ? call.out[0].format : Format::f32;
  check.require(format == Format::f32 || format == Format::f64, "computes in f32 or f64 only");
  for (int64_t i = 0; i < count && check.ok(); i++)
    check.input(i, "x", format, {flatSize(call.in[i])});
  return check.output(0, "sum", format, {}).done();
}

bool adamInPlace(const OpCall& call, int out, int in) {
  const auto& p = call.as<AdamParams>();
  return updatesInPlace(adamScalars(p), p.count, out, in);
}
bool emaInPlace(const OpCall&, int out, int in) { return in == 1 + out; }
Cost costAdam(const OpCall& call) { return {5.0 * outputElements(call), operandBytes(call)}; }
Cost costEma(const OpCall& call) { return {3.0 * outputElements(call), operandBytes(call)}; }
Cost costSumSquares(const OpCall& call) {
  const double bytes = operandBytes(call);
  return {2.0 * bytes / double(formatBytes(call.out[0].format)), bytes};
}

const RegisterOp adam{specOf<AdamParams>("adam", checkAdam, adamInPlace, costAdam)};
const RegisterOp ema{specOf<EmaUpdateParams>("emaUpdate", checkEma, emaInPlace, costEma)};
const RegisterOp sumSquares{
    specOf<SumSquaresParams>("sumSquares", checkSumSquares, neverAliases, costSumSquares)};

}  // namespace
}  // namespace figment
