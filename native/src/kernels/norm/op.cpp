// groupNorm over channels-last samples x[n,spatial,c] (Wu & He, 2018): each of `groups` runs of
// c/groups channels is normalised with the mean and the biased variance of its spatial·c/groups
// elements, then scaled and shifted per channel; then an activation follows
// (../bias_act/activation.h). groupNormGrad recomputes what it was applied to from mean and rstd.
#include "../bias_act/activation.h"
#include "../op_spec.h"
#include "../params/groupNorm.generated.h"
#include "../params/groupNormGrad.generated.h"
#include "activation_cost.h"
#include "dense_check.h"

namespace figment {
namespace {

template <class Params>
void checkParams(DenseCheck& check, const Params& p) {
  check.require(p.n >= 0 && p.spatial >= 0 && p.c >= 0, "n, spatial and c must not be negative")
      .require(p.groups >= 1 && p.c % (p.groups >= 1 ? p.groups : 1) == 0,
               "c must be a multiple of groups")
      .require(p.activation >= 0 && p.activation <= kLastNormActivation,
               "the activation is unknown");
}

std::string checkForward(const OpCall& call) {
  const auto& p = call.as<GroupNormParams>();
  DenseCheck check("groupNorm", call, 3, 3);
  check.floats(3);
  checkParams(check, p);
  return check.input(0, "x", check.inputFormat(0), {p.n, p.spatial, p.c})
      .input(1, "gamma", check.inputFormat(1), {p.c})
      .input(2, "beta", check.inputFormat(2), {p.c})
      .output(0, "y", check.outputFormat(0), {p.n, p.spatial, p.c})
      .output(1, "mean", check.wideFormat(), {p.n, p.groups})
      .output(2, "rstd", check.wideFormat(), {p.n, p.groups})
      .done();
}

std::string checkBackward(const OpCall& call) {
  const auto& p = call.as<GroupNormGradParams>();
  DenseCheck check("groupNormGrad", call, 6, 3);
  check.floats(6);
  checkParams(check, p);
  return check.input(0, "x", check.inputFormat(0), {p.n, p.spatial, p.c})
      .input(1, "gamma", check.inputFormat(1), {p.c})
      .input(2, "beta", check.inputFormat(2), {p.c})
      .input(3, "mean", check.wideFormat(), {p.n, p.groups})
      .input(4, "rstd", check.wideFormat(), {p.n, p.groups})
      .input(5, "dy", check.inputFormat(5), {p.n, p.spatial, p.c})
      .output(0, "dx", check.outputFormat(0), {p.n, p.spatial, p.c})
      .output(1, "dgamma", check.outputFormat(1), {p.c})
      .output(2, "dbeta", check.outputFormat(2), {p.c})
      .done();
}

bool forwardInPlace(const OpCall& call, int out, int in) {
  return out == 0 && in == 0 && sameFormat(call, out, in);
}
/// dx may take dy's place; not x's, which is read again after dx has held an intermediate value.
bool backwardInPlace(const OpCall& call, int out, int in) {
  return out == 0 && in == 5 && sameFormat(call, out, in);
}

Cost costForward(const OpCall& call) {
  const double after = activationFlops(call.as<GroupNormParams>().activation);
  return {(6 + after) * double(call.in[0].elements()), operandBytes(call)};
}
Cost costBackward(const OpCall& call) {
  const double after = slopeFlops(call.as<GroupNormGradParams>().activation);
  return {(10 + after) * double(call.in[0].elements()), operandBytes(call)};
}

const RegisterOp forward{
    specOf<GroupNormParams>("groupNorm", checkForward, forwardInPlace, costForward)};
const RegisterOp backward{
    specOf<GroupNormGradParams>("groupNormGrad", checkBackward, backwardInPlace, costBackward)};

}  // namespace
}  // namespace figment
