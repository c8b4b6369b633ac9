// softmax: y[r,:] = exp(x[r,:] − max) / Σ exp(x[r,:] − max), and its derivative
// softmaxGrad: dx = y·(dy − Σ y·dy), row by row; and logSoftmax: y[r,:] = x[r,:] − log Σ
// exp(x[r,:]), with logSoftmaxGrad: dx = dy − exp(y)·Σ dy.
#include "../norm/dense_check.h"
#include "../op_spec.h"
#include "../params/logSoftmax.generated.h"
#include "../params/logSoftmaxGrad.generated.h"
#include "../params/softmax.generated.h"
#include "../params/softmaxGrad.generated.h"

namespace figment {
namespace {

template <class P>
std::string checkForward(const char* op, const OpCall& call) {
  const P& p = call.as<P>();
  DenseCheck check(op, call, 1, 1);
  check.floats(1);
  return check.input(0, "x", check.inputFormat(0), {p.rows, p.cols})
      .output(0, "y", check.outputFormat(0), {p.rows, p.cols})
      .done();
}

template <class P>
std::string checkGrad(const char* op, const OpCall& call) {
  const P& p = call.as<P>();
  DenseCheck check(op, call, 2, 1);
  check.floats(2);
  return check.input(0, "y", check.inputFormat(0), {p.rows, p.cols})
      .input(1, "dy", check.inputFormat(1), {p.rows, p.cols})
      .output(0, "dx", check.outputFormat(0), {p.rows, p.cols})
      .done();
}

/// Rows are read before their place is written.
constexpr auto inPlace = sameFormat;

// An exponential is counted as ten operations throughout.
Cost costForward(const OpCall& call) {
  return {14.0 * double(call.in[0].elements()), operandBytes(call)};
}
Cost costSoftmaxGrad(const OpCall& call) {
  return {4.0 * double(call.in[0].elements()), operandBytes(call)};
}
Cost costLogSoftmaxGrad(const OpCall& call) {
  return {13.0 * double(call.in[0].elements()), operandBytes(call)};
}

const RegisterOp softmax{specOf<SoftmaxParams>(
    "softmax", [](const OpCall& call) { return checkForward<SoftmaxParams>("softmax", call); },
    inPlace, costForward)};
const RegisterOp softmaxGrad{specOf<SoftmaxGradParams>(
    "softmaxGrad",
    [](const OpCall& call) { return checkGrad<SoftmaxGradParams>("softmaxGrad", call); }, inPlace,
    costSoftmaxGrad)};
const RegisterOp logSoftmax{specOf<LogSoftmaxParams>(
    "logSoftmax",
    [](const OpCall& call) { return checkForward<LogSoftmaxParams>("logSoftmax", call); }, inPlace,
    costForward)};
const RegisterOp logSoftmaxGrad{specOf<LogSoftmaxGradParams>(
    "logSoftmaxGrad",
    [](const OpCall& call) { return checkGrad<LogSoftmaxGradParams>("logSoftmaxGrad", call); },
    inPlace, costLogSoftmaxGrad)};

}  // namespace
}  // namespace figment
