// crossEntropy: loss[r] = lse[r] − logits[r, label[r]], lse[r] = log Σ exp(logits[r,:]), and
// crossEntropyGrad: dlogits = (exp(logits − lse) − onehot(label))·dloss. A label outside
// [0, cols) stops the program with ERR_FIGMENT_INDEX.
#include "../norm/dense_check.h"
#include "../op_spec.h"
#include "../params/crossEntropy.generated.h"
#include "../params/crossEntropyGrad.generated.h"

namespace figment {
namespace {

std::string checkForward(const OpCall& call) {
  const auto& p = call.as<CrossEntropyParams>();
  DenseCheck check("crossEntropy", call, 2, 2);
  check.floats(1);
  return check.input(0, "logits", check.inputFormat(0), {p.rows, p.cols})
      .input(1, "labels", Format::i32, {p.rows})
      .output(0, "loss", check.outputFormat(0), {p.rows})
      .output(1, "lse", check.wideFormat(), {p.rows})
      .done();
}

std::string checkBackward(const OpCall& call) {
  const auto& p = call.as<CrossEntropyGradParams>();
  DenseCheck check("crossEntropyGrad", call, 4, 1);
  check.floats(1);
  return check.input(0, "logits", check.inputFormat(0), {p.rows, p.cols})
      .input(1, "labels", Format::i32, {p.rows})
      .input(2, "lse", check.wideFormat(), {p.rows})
      .input(3, "dloss", check.inputFormat(0), {p.rows})
      .output(0, "dlogits", check.outputFormat(0), {p.rows, p.cols})
      .done();
}

bool logitsInPlace(const OpCall& call, int out, int in) {
  return in == 0 && sameFormat(call, out, in);
}

Cost costForward(const OpCall& call) {
  return {12.0 * double(call.in[0].elements()), operandBytes(call)};
}
Cost costBackward(const OpCall& call) {
  return {12.0 * double(call.in[0].elements()), operandBytes(call)};
}

const RegisterOp forward{
    specOf<CrossEntropyParams>("crossEntropy", checkForward, neverAliases, costForward)};
const RegisterOp backward{
    specOf<CrossEntropyGradParams>("crossEntropyGrad", checkBackward, logitsInPlace, costBackward)};

}  // namespace
}  // namespace figment
