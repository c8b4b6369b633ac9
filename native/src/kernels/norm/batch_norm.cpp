// batchNorm over x[rows,c] (Ioffe & Szegedy, 2015): each channel is normalised with the mean and
// the biased variance of its rows, which are results too (the variance also unbiased), then scaled
// and shifted:
//   y = f((x − mean)/√(variance + eps)·γ + β)
// with an activation f (../bias_act/activation.h).
// batchNormGrad is its derivative through mean and variance.
//
// The plain batch normalisation and its derivative, the oracle of the variants: channel by channel,
// sums in f64. With x̂ = (x − mean)·r, r = 1/√(variance + eps), over the M rows of a channel:
// and du the cotangent of what f is applied to:
//   dβ = Σ du,  dγ = Σ du·x̂,  dx = γ·r·(du − dβ/M − x̂·dγ/M)
#include <algorithm>
#include <cmath>

#include "../bias_act/plain_activation.h"
#include "../op_spec.h"
#include "../params/batchNorm.generated.h"
#include "../params/batchNormGrad.generated.h"
#include "../reference.h"
#include "activation_cost.h"
#include "dense_check.h"

namespace figment {
namespace {

template <class Params>
void checkParams(DenseCheck& check, const Params& p) {
  check.require(p.rows >= 0 && p.c >= 0 && p.c <= INT32_MAX, "rows or c is out of range")
      .require(p.activation >= 0 && p.activation <= kLastNormActivation,
               "the activation is unknown");
}

std::string checkForward(const OpCall& call) {
  const auto& p = call.as<BatchNormParams>();
  DenseCheck check("batchNorm", call, 3, 4);
  check.floats(3);
  checkParams(check, p);
  return check.input(0, "x", check.inputFormat(0), {p.rows, p.c})
      .input(1, "gamma", check.inputFormat(1), {p.c})
      .input(2, "beta", check.inputFormat(2), {p.c})
      .output(0, "y", check.outputFormat(0), {p.rows, p.c})
      .output(1, "mean", check.wideFormat(), {p.c})
      .output(2, "variance", check.wideFormat(), {p.c})
      .output(3, "unbiased variance", check.wideFormat(), {p.c})
      .done();
}

std::string checkBackward(const OpCall& call) {
  const auto& p = call.as<BatchNormGradParams>();
  DenseCheck check("batchNormGrad", call, 6, 3);
  check.floats(6);
  checkParams(check, p);
  return check.input(0, "x", check.inputFormat(0), {p.rows, p.c})
      .input(1, "gamma", check.inputFormat(1), {p.c})
      .input(2, "beta", check.inputFormat(2), {p.c})
      .input(3, "mean", check.wideFormat(), {p.c})
      .input(4, "variance", check.wideFormat(), {p.c})
      .input(5, "dy", check.inputFormat(5), {p.rows, p.c})
      .output(0, "dx", check.outputFormat(0), {p.rows, p.c})
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
  const double after = activationFlops(call.as<BatchNormParams>().activation);
  return {(6 + after) * double(call.in[0].elements()), operandBytes(call)};
}
Cost costBackward(const OpCall& call) {
  const double after = slopeFlops(call.as<BatchNormGradParams>().activation);
  return {(10 + after) * double(call.in[0].elements()), operandBytes(call)};
}

const RegisterOp forwardOp{
    specOf<BatchNormParams>("batchNorm", checkForward, forwardInPlace, costForward)};
const RegisterOp backwardOp{
    specOf<BatchNormGradParams>("batchNormGrad", checkBackward, backwardInPlace, costBackward)};

template <class T>
void runForward(const OpCall& call, Context& context) {
  const auto& p = call.as<BatchNormParams>();
  const T *x = call.in[0].as<const T>(), *gamma = call.in[1].as<const T>(),
          *beta = call.in[2].as<const T>();
  T *y = call.out[0].as<T>(), *mean = call.out[1].as<T>(), *variance = call.out[2].as<T>(),
    *unbiased = call.out[3].as<T>();
  const double count = double(p.rows > 0 ? p.rows : 1);
  context.parallelFor(p.c, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t ch = begin; ch < end; ch++) {
      double sum = 0, squares = 0;
      for (int64_t row = 0; row < p.rows; row++) sum += double(x[row * p.c + ch]);
      const double center = sum / count;
      for (int64_t row = 0; row < p.rows; row++) {
        const double d = double(x[row * p.c + ch]) - center;
        squares += d * d;
      }
      const double spread = squares / count;
      const double scale = double(gamma[ch]) / std::sqrt(spread + p.eps);
      mean[ch] = T(center);
      variance[ch] = T(spread);
      unbiased[ch] = T(squares / std::max(count - 1, 1.0));
      for (int64_t row = 0; row < p.rows; row++) {
        const int64_t i = row * p.c + ch;
        const double u = (double(x[i]) - center) * scale + double(beta[ch]);
        y[i] = T(activations::activate(u, p.activation, p.slope));
      }
    }
  });
}

template <class T>
void runBackward(const OpCall& call, Context& context) {
  const auto& p = call.as<BatchNormGradParams>();
  const T *x = call.in[0].as<const T>(), *gamma = call.in[1].as<const T>(),
          *beta = call.in[2].as<const T>(), *mean = call.in[3].as<const T>(),
          *variance = call.in[4].as<const T>(), *dy = call.in[5].as<const T>();
  T *dx = call.out[0].as<T>(), *dgamma = call.out[1].as<T>(), *dbeta = call.out[2].as<T>();
  context.parallelFor(p.c, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t ch = begin; ch < end; ch++) {
      const double center = double(mean[ch]);
      const double inverse = 1 / std::sqrt(double(variance[ch]) + p.eps);
      const auto normalised = [&](int64_t i) { return (double(x[i]) - center) * inverse; };
      const auto before = [&](int64_t i) {
        const double u = double(gamma[ch]) * normalised(i) + double(beta[ch]);
        return activations::cotangentAt(u, double(dy[i]), p.activation, p.slope);
      };
      double plain = 0, scaled = 0;
      for (int64_t row = 0; row < p.rows; row++) {
        const int64_t i = row * p.c + ch;
        plain += before(i);
        scaled += before(i) * normalised(i);
      }
      dgamma[ch] = T(scaled);
      dbeta[ch] = T(plain);
      const double count = double(p.rows);
      for (int64_t row = 0; row < p.rows; row++) {
        const int64_t i = row * p.c + ch;
        const double along = normalised(i) * scaled / count;
        dx[i] = T(double(gamma[ch]) * inverse * (before(i) - plain / count - along));
      }
    }
  });
}

const RegisterVariant forwardReference{
    referenceVariant("batchNorm", byWidened<runForward<float>, runForward<double>>)};
const RegisterVariant backwardReference{
    referenceVariant("batchNormGrad", byWidened<runBackward<float>, runBackward<double>>)};

}  // namespace
}  // namespace figment
