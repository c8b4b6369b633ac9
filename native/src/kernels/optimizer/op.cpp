// Multi-tensor updates of whole parameter sets in one sweep.
//   adam: g ← g·gradScale (+ weightDecay·p when decoupled = 0), m ← β₁m + (1−β₁)g,
//     v ← β₂v + (1−β₂)g², p ← p(1 − lr·weightDecay when decoupled) − lr/(1−β₁ᵗ)·m /
//     (√v/√(1−β₂ᵗ) + eps)  (Kingma & Ba, 2015; Loshchilov & Hutter, 2019)
//   emaUpdate: target ← decay·target + (1−decay)·source
//   sumSquares: Σ of all squares, for the global gradient norm
#include "../norm/dense_check.h"
#include "../params.generated.h"

namespace figment {
namespace {

/// Far above any model, so that operand counts computed from it cannot overflow.
constexpr int32_t kMaxTensors = 1 << 20;

/// Elements of an operand whose extents have not been checked; −1 when out of range, which no
/// operand equals.
int64_t flatSize(const Operand& operand) {
  int64_t product = 1;
  for (int i = 0; i < operand.rank && i < kMaxRank; i++)
    if (operand.dims[i] < 0 || __builtin_mul_overflow(product, operand.dims[i], &product))
      return -1;
  return product;
}

bool countInRange(int32_t count) { return count >= 0 && count <= kMaxTensors; }

std::string checkAdam(const OpCall& call) {
  const int32_t count = call.as<AdamParams>().count;
  const int32_t decoupled = call.as<AdamParams>().decoupled;
  DenseCheck check("adam", call, 3 + 4 * int64_t(count), 3 * int64_t(count));
  check.require(countInRange(count), "count is out of range")
      .require(decoupled == 0 || decoupled == 1, "decoupled is 0 or 1");
  const Format format = check.floating(0);
  check.input(0, "lr", format, {}).input(1, "step", format, {}).input(2, "gradScale", format, {});
  for (int32_t i = 0; i < count && check.ok(); i++) {
    const int64_t size = flatSize(call.in[3 + i]);
    const int64_t n = count;
    check.input(3 + i, "p", format, {size})
        .input(3 + n + i, "g", format, {size})
        .input(3 + 2 * n + i, "m", format, {size})
        .input(3 + 3 * n + i, "v", format, {size})
        .output(i, "p'", format, {size})
        .output(n + i, "m'", format, {size})
        .output(2 * n + i, "v'", format, {size});
  }
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
  const int count = call.as<AdamParams>().count;
  if (count < 1) return false;
  const int tensor = out % count, kind = out / count;  // p, m, v
  return in == 3 + (kind == 0 ? 0 : kind + 1) * count + tensor;
}
bool emaInPlace(const OpCall&, int out, int in) { return in == 1 + out; }
bool never(const OpCall&, int, int) { return false; }

double outputElements(const OpCall& call) {
  double elements = 0;
  for (int i = 0; i < call.outCount; i++) elements += double(call.out[i].elements());
  return elements;
}
Cost costAdam(const OpCall& call) { return {5.0 * outputElements(call), operandBytes(call)}; }
Cost costEma(const OpCall& call) { return {3.0 * outputElements(call), operandBytes(call)}; }
Cost costSumSquares(const OpCall& call) {
  const double bytes = operandBytes(call);
  return {2.0 * bytes / double(formatBytes(call.out[0].format)), bytes};
}

const RegisterOp adam{
    {"adam", AdamParams::kHash, sizeof(AdamParams), false, checkAdam, adamInPlace, costAdam}};
const RegisterOp ema{{"emaUpdate", EmaUpdateParams::kHash, sizeof(EmaUpdateParams), false, checkEma,
                      emaInPlace, costEma}};
const RegisterOp sumSquares{{"sumSquares", SumSquaresParams::kHash, sizeof(SumSquaresParams), false,
                             checkSumSquares, never, costSumSquares}};

}  // namespace
}  // namespace figment
