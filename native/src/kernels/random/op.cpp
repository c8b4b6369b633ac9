// randomUniform, randomNormal: (state i32[4]) -> (sample f32[count], next state i32[4]). Pure
// functions of the state: the counter-based generator of philox.h.
#include <string>

#include "../op_spec.h"
#include "../params/randomNormal.generated.h"
#include "../params/randomUniform.generated.h"

namespace figment {
namespace {

static_assert(sizeof(RandomUniformParams) == sizeof(RandomNormalParams));

std::string check(const OpCall& call) {
  if (call.inCount != 1 || call.outCount != 2) return "needs one input and two outputs";
  for (const Operand* state : {&call.in[0], &call.out[1]})
    if (state->format != Format::i32 || !state->hasShape({4}) || !state->contiguous())
      return "a random state is an i32[4]";
  const int64_t count = call.as<RandomNormalParams>().count;
  if (count < 0) return "negative count";
  const Operand& sample = call.out[0];
  if (sample.format != Format::f32 || !sample.hasShape({count}) || !sample.contiguous())
    return "the sample is a contiguous f32[count]";
  return "";
}

bool mayAlias(const OpCall&, int out, int) { return out == 1; }

Cost costOf(const OpCall& call, double flopsPerElement) {
  return {.flops = flopsPerElement * double(call.out[0].elements()), .bytes = operandBytes(call)};
}

const RegisterOp registerUniform{specOf<RandomUniformParams>(
    "randomUniform", check, mayAlias, [](const OpCall& call) { return costOf(call, 20); })};
const RegisterOp registerNormal{specOf<RandomNormalParams>(
    "randomNormal", check, mayAlias, [](const OpCall& call) { return costOf(call, 40); })};

}  // namespace
}  // namespace figment
