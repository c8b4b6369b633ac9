// softmax: y[r,:] = exp(x[r,:] − max) / Σ exp(x[r,:] − max), and its derivative
// softmaxGrad: dx = y·(dy − Σ y·dy), row by row.
#include "../norm/dense_check.h"
#include "../params.generated.h"

namespace figment {
namespace {

std::string checkSoftmax(const OpCall& call) {
  const auto& p = call.as<SoftmaxParams>();
  DenseCheck check("softmax", call, 1, 1);
  const Format format = check.floating(0);
  return check.input(0, "x", format, {p.rows, p.cols})
      .output(0, "y", format, {p.rows, p.cols})
      .done();
}

std::string checkSoftmaxGrad(const OpCall& call) {
  const auto& p = call.as<SoftmaxGradParams>();
  DenseCheck check("softmaxGrad", call, 2, 1);
  const Format format = check.floating(0);
  return check.input(0, "y", format, {p.rows, p.cols})
      .input(1, "dy", format, {p.rows, p.cols})
      .output(0, "dx", format, {p.rows, p.cols})
      .done();
}

bool inPlace(const OpCall&, int, int) { return true; }

// An exponential is counted as ten operations throughout.
Cost costSoftmax(const OpCall& call) {
  return {14.0 * double(call.in[0].elements()), operandBytes(call)};
}
Cost costSoftmaxGrad(const OpCall& call) {
  return {4.0 * double(call.in[0].elements()), operandBytes(call)};
}

const RegisterOp softmax{{"softmax", SoftmaxParams::kHash, sizeof(SoftmaxParams), false,
                          checkSoftmax, inPlace, costSoftmax}};
const RegisterOp softmaxGrad{{"softmaxGrad", SoftmaxGradParams::kHash, sizeof(SoftmaxGradParams),
                              false, checkSoftmaxGrad, inPlace, costSoftmaxGrad}};

}  // namespace
}  // namespace figment
