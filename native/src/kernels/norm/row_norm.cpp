// layerNorm (Ba, Kiros & Hinton, 2016) and rmsNorm (Zhang & Sennrich, 2019) over the rows of
// x[rows,cols], with one scale per column, and their derivatives:
//   layerNorm  y = (x − mean)·rstd·γ + β, rstd = 1/√(variance + eps), variance biased
//   rmsNorm    y = x·rrms·γ, rrms = 1/√(mean of x² + eps)
//
// The plain layerNorm, rmsNorm and their derivatives, the oracle of the variants: row by row in
// f64. With x̂ the normalised row of C elements, r its factor (rstd or rrms) and g = γ·dy:
//   dγ = Σ dy·x̂ and dβ = Σ dy over the rows,  dx = r·(g − Σg/C − x̂·Σ(g·x̂)/C)
// rmsNorm takes no mean away and has no β; its dx lacks the term Σg/C.
#include <cmath>

#include "../op_spec.h"
#include "../params/layerNorm.generated.h"
#include "../params/layerNormGrad.generated.h"
#include "../params/rmsNorm.generated.h"
#include "../params/rmsNormGrad.generated.h"
#include "../reference.h"
#include "dense_check.h"

namespace figment {
namespace {

std::string checkLayerNorm(const OpCall& call) {
  const auto& p = call.as<LayerNormParams>();
  DenseCheck check("layerNorm", call, 3, 3);
  check.floats(3);
  return check.input(0, "x", check.inputFormat(0), {p.rows, p.cols})
      .input(1, "gamma", check.inputFormat(1), {p.cols})
      .input(2, "beta", check.inputFormat(2), {p.cols})
      .output(0, "y", check.outputFormat(0), {p.rows, p.cols})
      .output(1, "mean", check.wideFormat(), {p.rows})
      .output(2, "rstd", check.wideFormat(), {p.rows})
      .done();
}

std::string checkLayerNormGrad(const OpCall& call) {
  const auto& p = call.as<LayerNormGradParams>();
  DenseCheck check("layerNormGrad", call, 5, 3);
  check.floats(5);
  return check.input(0, "x", check.inputFormat(0), {p.rows, p.cols})
      .input(1, "gamma", check.inputFormat(1), {p.cols})
      .input(2, "mean", check.wideFormat(), {p.rows})
      .input(3, "rstd", check.wideFormat(), {p.rows})
      .input(4, "dy", check.inputFormat(4), {p.rows, p.cols})
      .output(0, "dx", check.outputFormat(0), {p.rows, p.cols})
      .output(1, "dgamma", check.outputFormat(1), {p.cols})
      .output(2, "dbeta", check.outputFormat(2), {p.cols})
      .done();
}

std::string checkRmsNorm(const OpCall& call) {
  const auto& p = call.as<RmsNormParams>();
  DenseCheck check("rmsNorm", call, 2, 2);
  check.floats(2);
  return check.input(0, "x", check.inputFormat(0), {p.rows, p.cols})
      .input(1, "gamma", check.inputFormat(1), {p.cols})
      .output(0, "y", check.outputFormat(0), {p.rows, p.cols})
      .output(1, "rrms", check.wideFormat(), {p.rows})
      .done();
}

std::string checkRmsNormGrad(const OpCall& call) {
  const auto& p = call.as<RmsNormGradParams>();
  DenseCheck check("rmsNormGrad", call, 4, 2);
  check.floats(4);
  return check.input(0, "x", check.inputFormat(0), {p.rows, p.cols})
      .input(1, "gamma", check.inputFormat(1), {p.cols})
      .input(2, "rrms", check.wideFormat(), {p.rows})
      .input(3, "dy", check.inputFormat(3), {p.rows, p.cols})
      .output(0, "dx", check.outputFormat(0), {p.rows, p.cols})
      .output(1, "dgamma", check.outputFormat(1), {p.cols})
      .done();
}

/// A row is read before its place is written, whichever of x and dy that place was.
bool firstInFirst(const OpCall& call, int out, int in) {
  return out == 0 && in == 0 && sameFormat(call, out, in);
}
bool layerGradInPlace(const OpCall& call, int out, int in) {
  return out == 0 && (in == 0 || in == 4) && sameFormat(call, out, in);
}
bool rmsGradInPlace(const OpCall& call, int out, int in) {
  return out == 0 && (in == 0 || in == 3) && sameFormat(call, out, in);
}

template <int kFlops>
Cost costPerElement(const OpCall& call) {
  return {kFlops * double(call.in[0].elements()), operandBytes(call)};
}

const RegisterOp layerNormOp{
    specOf<LayerNormParams>("layerNorm", checkLayerNorm, firstInFirst, costPerElement<7>)};
const RegisterOp layerNormGradOp{specOf<LayerNormGradParams>("layerNormGrad", checkLayerNormGrad,
                                                             layerGradInPlace, costPerElement<14>)};
const RegisterOp rmsNormOp{
    specOf<RmsNormParams>("rmsNorm", checkRmsNorm, firstInFirst, costPerElement<4>)};
const RegisterOp rmsNormGradOp{
    specOf<RmsNormGradParams>("rmsNormGrad", checkRmsNormGrad, rmsGradInPlace, costPerElement<10>)};

template <class T>
void runLayerNorm(const OpCall& call, Context& context) {
  const auto& p = call.as<LayerNormParams>();
  const T *x = call.in[0].as<const T>(), *gamma = call.in[1].as<const T>(),
          *beta = call.in[2].as<const T>();
  T *y = call.out[0].as<T>(), *mean = call.out[1].as<T>(), *rstd = call.out[2].as<T>();
  const double count = double(p.cols > 0 ? p.cols : 1);
  context.parallelFor(p.rows, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; row++) {
      const T* from = x + row * p.cols;
      double sum = 0, squares = 0;
      for (int64_t i = 0; i < p.cols; i++) sum += double(from[i]);
      const double center = sum / count;
      for (int64_t i = 0; i < p.cols; i++) {
        const double d = double(from[i]) - center;
        squares += d * d;
      }
      const double scale = 1 / std::sqrt(squares / count + p.eps);
      mean[row] = T(center);
      rstd[row] = T(scale);
      for (int64_t i = 0; i < p.cols; i++)
        y[row * p.cols + i] =
            T((double(from[i]) - center) * scale * double(gamma[i]) + double(beta[i]));
    }
  });
}

template <class T>
void runRmsNorm(const OpCall& call, Context& context) {
  const auto& p = call.as<RmsNormParams>();
  const T *x = call.in[0].as<const T>(), *gamma = call.in[1].as<const T>();
  T *y = call.out[0].as<T>(), *rrms = call.out[1].as<T>();
  const double count = double(p.cols > 0 ? p.cols : 1);
  context.parallelFor(p.rows, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; row++) {
      const T* from = x + row * p.cols;
      double squares = 0;
      for (int64_t i = 0; i < p.cols; i++) squares += double(from[i]) * double(from[i]);
      const double scale = 1 / std::sqrt(squares / count + p.eps);
      rrms[row] = T(scale);
      for (int64_t i = 0; i < p.cols; i++)
        y[row * p.cols + i] = T(double(from[i]) * scale * double(gamma[i]));
    }
  });
}

/// What the two derivatives share; mean is null for rmsNorm, and dbeta with it.
template <class T>
struct RowGrad {
  int64_t rows, cols;
  const T *x, *gamma, *mean, *scale, *dy;
  T *dx, *dgamma, *dbeta;

  double normalised(int64_t row, int64_t i) const {
    const double center = mean ? double(mean[row]) : 0;
    return (double(x[row * cols + i]) - center) * double(scale[row]);
  }

  void run(Context& context) const {
    // The sums over rows first: dx may overwrite x or dy.
    context.parallelFor(cols, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) {
        double scaled = 0, plain = 0;
        for (int64_t row = 0; row < rows; row++) {
          const double d = double(dy[row * cols + i]);
          plain += d;
          scaled += d * normalised(row, i);
        }
        dgamma[i] = T(scaled);
        if (dbeta) dbeta[i] = T(plain);
      }
    });
    context.parallelFor(rows, 1, [&](int64_t begin, int64_t end, int) {
      for (int64_t row = begin; row < end; row++) {
        double sum = 0, dot = 0;
        for (int64_t i = 0; i < cols; i++) {
          const double g = double(gamma[i]) * double(dy[row * cols + i]);
          sum += g;
          dot += g * normalised(row, i);
        }
        const double common = mean ? sum / double(cols) : 0, along = dot / double(cols);
        for (int64_t i = 0; i < cols; i++) {
          const double g = double(gamma[i]) * double(dy[row * cols + i]);
          dx[row * cols + i] = T(double(scale[row]) * (g - common - normalised(row, i) * along));
        }
      }
    });
  }
};

template <class T>
void runLayerNormGrad(const OpCall& call, Context& context) {
  const auto& p = call.as<LayerNormGradParams>();
  RowGrad<T>{p.rows,
             p.cols,
             call.in[0].as<const T>(),
             call.in[1].as<const T>(),
             call.in[2].as<const T>(),
             call.in[3].as<const T>(),
             call.in[4].as<const T>(),
             call.out[0].as<T>(),
             call.out[1].as<T>(),
             call.out[2].as<T>()}
      .run(context);
}

template <class T>
void runRmsNormGrad(const OpCall& call, Context& context) {
  const auto& p = call.as<RmsNormGradParams>();
  RowGrad<T>{p.rows,
             p.cols,
             call.in[0].as<const T>(),
             call.in[1].as<const T>(),
             nullptr,
             call.in[2].as<const T>(),
             call.in[3].as<const T>(),
             call.out[0].as<T>(),
             call.out[1].as<T>(),
             nullptr}
      .run(context);
}

const RegisterVariant layerNormReference{
    referenceVariant("layerNorm", byWidened<runLayerNorm<float>, runLayerNorm<double>>)};
const RegisterVariant layerNormGradReference{referenceVariant(
    "layerNormGrad", byWidened<runLayerNormGrad<float>, runLayerNormGrad<double>>)};
const RegisterVariant rmsNormReference{
    referenceVariant("rmsNorm", byWidened<runRmsNorm<float>, runRmsNorm<double>>)};
const RegisterVariant rmsNormGradReference{
    referenceVariant("rmsNormGrad", byWidened<runRmsNormGrad<float>, runRmsNormGrad<double>>)};

}  // namespace
}  // namespace figment
