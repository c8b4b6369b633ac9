// randomInteger: (state i32[4]) -> (sample i32[count], next state i32[4]), whole numbers in [lo,
// hi). Each takes 64 bits w and is lo + floor(w (hi - lo) / 2^64) (D. Lemire, "Fast random integer
// generation in an interval", TOMACS 29, 2019, without its rejection): no number is more likely
// than another by more than a part in 2^32.
#include <string>

#include "../op_spec.h"
#include "../params/randomInteger.generated.h"

namespace figment {
namespace {

std::string check(const OpCall& call) {
  if (call.inCount != 1 || call.outCount != 2) return "needs one input and two outputs";
  for (const Operand* state : {&call.in[0], &call.out[1]})
    if (state->format != Format::i32 || !state->hasShape({4}) || !state->contiguous())
      return "a random state is an i32[4]";
  const auto& p = call.as<RandomIntegerParams>();
  if (p.count < 0) return "negative count";
  if (p.lo < INT32_MIN || p.hi > int64_t{INT32_MAX} + 1 || p.lo >= p.hi)
    return "the range must lie in that of i32 and not be empty";
  const Operand& sample = call.out[0];
  if (sample.format != Format::i32 || !sample.hasShape({p.count}) || !sample.contiguous())
    return "the sample is a contiguous i32[count]";
  return "";
}

const RegisterOp registerOp{specOf<RandomIntegerParams>(
    "randomInteger", check, [](const OpCall&, int out, int) { return out == 1; },
    [](const OpCall& call) {
      return Cost{.flops = 40 * double(call.out[0].elements()), .bytes = operandBytes(call)};
    })};

}  // namespace
}  // namespace figment
