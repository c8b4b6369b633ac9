// biasAct over x[rows,c]: y = gain·f(x + bias) for one of a few activations f, kept within ±limit
// when clamped = 1 (the bias_act of Karras et al., StyleGAN2, 2020). biasActGrad gives the
// cotangents of x and of the bias; the slope at a clamped element is 0.
//
// The plain biasAct and its derivative, the oracle of the variants: arithmetic in f64.
#include "../norm/dense_check.h"
#include "../op_spec.h"
#include "../params/biasAct.generated.h"
#include "../params/biasActGrad.generated.h"
#include "../reference.h"
#include "plain_activation.h"

namespace figment {
namespace {

template <class Params>
void checkParams(DenseCheck& check, const Params& p) {
  check.require(p.rows >= 0 && p.c >= 0, "rows and c must not be negative")
      .require(p.activation >= 0 && p.activation <= kLastBiasActivation,
               "the activation is unknown")
      .require(p.clamped == 0 || p.clamped == 1, "clamped is 0 or 1");
}

std::string checkForward(const OpCall& call) {
  const auto& p = call.as<BiasActParams>();
  DenseCheck check("biasAct", call, 2, 1);
  const Format format = check.floating(0);
  checkParams(check, p);
  return check.input(0, "x", format, {p.rows, p.c})
      .input(1, "bias", format, {p.c})
      .output(0, "y", format, {p.rows, p.c})
      .done();
}

std::string checkBackward(const OpCall& call) {
  const auto& p = call.as<BiasActGradParams>();
  DenseCheck check("biasActGrad", call, 3, 2);
  const Format format = check.floating(0);
  checkParams(check, p);
  return check.input(0, "x", format, {p.rows, p.c})
      .input(1, "bias", format, {p.c})
      .input(2, "dy", format, {p.rows, p.c})
      .output(0, "dx", format, {p.rows, p.c})
      .output(1, "dbias", format, {p.c})
      .done();
}

bool forwardInPlace(const OpCall&, int out, int in) { return out == 0 && in == 0; }
bool backwardInPlace(const OpCall&, int out, int in) { return out == 0 && (in == 0 || in == 2); }

/// Operations of one activation; its slope is counted at half as many again.
double activationFlops(int32_t activation) {
  if (activation <= kLeakyReluAct) return 1;
  return activation == kGeluAct ? 30 : 14;
}
Cost costForward(const OpCall& call) {
  const double flops = 3 + activationFlops(call.as<BiasActParams>().activation);
  return {flops * double(call.in[0].elements()), operandBytes(call)};
}
Cost costBackward(const OpCall& call) {
  const double flops = 4 + 1.5 * activationFlops(call.as<BiasActGradParams>().activation);
  return {flops * double(call.in[0].elements()), operandBytes(call)};
}

const RegisterOp forwardOp{
    specOf<BiasActParams>("biasAct", checkForward, forwardInPlace, costForward)};
const RegisterOp backwardOp{
    specOf<BiasActGradParams>("biasActGrad", checkBackward, backwardInPlace, costBackward)};

template <class T>
void runForward(const OpCall& call, Context& context) {
  const auto& p = call.as<BiasActParams>();
  const T *x = call.in[0].as<const T>(), *bias = call.in[1].as<const T>();
  T* y = call.out[0].as<T>();
  context.parallelFor(p.rows, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; row++) {
      for (int64_t ch = 0; ch < p.c; ch++) {
        const int64_t i = row * p.c + ch;
        const double u = double(x[i]) + double(bias[ch]);
        double value = activations::activate(u, p.activation, p.slope) * p.gain;
        if (p.clamped && value > p.limit) value = p.limit;
        if (p.clamped && value < -p.limit) value = -p.limit;
        y[i] = T(value);
      }
    }
  });
}

template <class T>
void runBackward(const OpCall& call, Context& context) {
  const auto& p = call.as<BiasActGradParams>();
  const T *x = call.in[0].as<const T>(), *bias = call.in[1].as<const T>(),
          *dy = call.in[2].as<const T>();
  T *dx = call.out[0].as<T>(), *dbias = call.out[1].as<T>();
  context.parallelFor(p.c, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t ch = begin; ch < end; ch++) {
      double sum = 0;
      for (int64_t row = 0; row < p.rows; row++) {
        const int64_t i = row * p.c + ch;
        const double u = double(x[i]) + double(bias[ch]);
        const double value = activations::activate(u, p.activation, p.slope) * p.gain;
        const bool outside = p.clamped && (value > p.limit || value < -p.limit);
        const double d =
            outside ? 0
                    : activations::cotangentAt(u, double(dy[i]) * p.gain, p.activation, p.slope);
        dx[i] = T(d);
        sum += d;
      }
      dbias[ch] = T(sum);
    }
  });
}

const RegisterVariant forwardReference{
    referenceVariant("biasAct", byFloat<runForward<float>, runForward<double>>)};
const RegisterVariant backwardReference{
    referenceVariant("biasActGrad", byFloat<runBackward<float>, runBackward<double>>)};

}  // namespace
}  // namespace figment
