// randomCategorical: (logits f32[rows, cols], state i32[4]) -> (i32[draws, rows], next state
// i32[4]), each a place of its row with probability softmax(logits)[place]. A row without a finite
// greatest logit stops the program with ERR_FIGMENT_VALUE. categorical.inl.h says how a place is
// found.
#include "../norm/dense_check.h"
#include "../op_spec.h"
#include "../params/randomCategorical.generated.h"

namespace figment {
namespace {

std::string check(const OpCall& call) {
  const auto& p = call.as<RandomCategoricalParams>();
  return DenseCheck("randomCategorical", call, 2, 2)
      .require(p.cols >= 1 && p.cols <= INT32_MAX, "rows must have 1 to 2^31 - 1 elements")
      .input(0, "logits", Format::f32, {p.rows, p.cols})
      .input(1, "state", Format::i32, {4})
      .output(0, "sample", Format::i32, {p.draws, p.rows})
      .output(1, "next state", Format::i32, {4})
      .done();
}

const RegisterOp registerOp{specOf<RandomCategoricalParams>(
    "randomCategorical", check, [](const OpCall&, int out, int in) { return out == 1 && in == 1; },
    [](const OpCall& call) {
      return Cost{
          .flops = 14 * double(call.in[0].elements()) + 4000 * double(call.out[0].elements()),
          .bytes = operandBytes(call)};
    })};

}  // namespace
}  // namespace figment
