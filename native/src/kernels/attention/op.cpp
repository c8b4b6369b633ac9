// attention: out = softmax(scale·q·kᵀ)·v per batch and head, operands [b,s,h,d], and the
// log-sum-exp of each row of scaled scores, lse[b,h,sq]. A last input i32[b], if there is one, says
// how many keys of each batch entry count, clamped to [0, sk]; else all do. With causal = 1, query
// i sees the keys j ≤ i + keys − sq. A query whose scores are all −Inf, or that sees no key, gives
// zeros and an lse of −Inf. attentionGrad recomputes the probabilities from lse (Dao et al., 2022).
#include "../norm/dense_check.h"
#include "../op_spec.h"
#include "../params/attention.generated.h"
#include "../params/attentionGrad.generated.h"

namespace figment {
namespace {

template <class Params>
DenseCheck& checkFlags(DenseCheck& check, const Params& p) {
  return check.require(p.causal == 0 || p.causal == 1, "causal is 0 or 1");
}

/// Lengths are an optional last input.
int inputsOf(const OpCall& call, int least) { return call.inCount > least ? least + 1 : least; }

template <class Params>
std::string checkLengths(DenseCheck& check, const OpCall& call, const Params& p, int least) {
  if (call.inCount > least) check.input(least, "keyLength", Format::i32, {p.b});
  return check.done();
}

std::string checkForward(const OpCall& call) {
  const auto& p = call.as<AttentionParams>();
  DenseCheck check("attention", call, inputsOf(call, 3), 2);
  checkFlags(check.floats(3), p)
      .input(0, "q", check.inputFormat(0), {p.b, p.sq, p.h, p.d})
      .input(1, "k", check.inputFormat(1), {p.b, p.sk, p.h, p.d})
      .input(2, "v", check.inputFormat(2), {p.b, p.sk, p.h, p.d})
      .output(0, "out", check.outputFormat(0), {p.b, p.sq, p.h, p.d})
      .output(1, "lse", check.wideFormat(), {p.b, p.h, p.sq});
  return checkLengths(check, call, p, 3);
}

std::string checkBackward(const OpCall& call) {
  const auto& p = call.as<AttentionGradParams>();
  DenseCheck check("attentionGrad", call, inputsOf(call, 6), 3);
  checkFlags(check.floats(6), p)
      .input(0, "q", check.inputFormat(0), {p.b, p.sq, p.h, p.d})
      .input(1, "k", check.inputFormat(1), {p.b, p.sk, p.h, p.d})
      .input(2, "v", check.inputFormat(2), {p.b, p.sk, p.h, p.d})
      .input(3, "out", check.inputFormat(3), {p.b, p.sq, p.h, p.d})
      .input(4, "lse", check.wideFormat(), {p.b, p.h, p.sq})
      .input(5, "dout", check.inputFormat(5), {p.b, p.sq, p.h, p.d})
      .output(0, "dq", check.outputFormat(0), {p.b, p.sq, p.h, p.d})
      .output(1, "dk", check.outputFormat(1), {p.b, p.sk, p.h, p.d})
      .output(2, "dv", check.outputFormat(2), {p.b, p.sk, p.h, p.d});
  return checkLengths(check, call, p, 6);
}

/// Query-key pairs that are computed.
template <class Params>
double pairs(const Params& p) {
  const double all = double(p.b) * p.h * p.sq * p.sk;
  return p.causal ? all / 2 : all;
}
Cost costForward(const OpCall& call) {
  const auto& p = call.as<AttentionParams>();
  return {pairs(p) * (4.0 * p.d + 12), operandBytes(call)};
}
Cost costBackward(const OpCall& call) {
  const auto& p = call.as<AttentionGradParams>();
  return {pairs(p) * (10.0 * p.d + 14), operandBytes(call)};
}

const RegisterOp forward{
    specOf<AttentionParams>("attention", checkForward, neverAliases, costForward)};
const RegisterOp backward{
    specOf<AttentionGradParams>("attentionGrad", checkBackward, neverAliases, costBackward)};

}  // namespace
}  // namespace figment
