// groupNorm, layerNorm and batchNorm as one: x[n,spatial,c] in n·groups groups of
// spatial·(c/groups) elements. layerNorm has a sample for each row and one group; batchNorm one
// sample, and a group for each channel.
#pragma once

#include "../../device/floats.h"
#include "activation.h"
#include "kernels/params/batchNorm.generated.h"
#include "kernels/params/batchNormGrad.generated.h"
#include "kernels/params/groupNorm.generated.h"
#include "kernels/params/groupNormGrad.generated.h"
#include "kernels/params/layerNorm.generated.h"
#include "kernels/params/layerNormGrad.generated.h"
#include "kernels/params/rmsNorm.generated.h"
#include "kernels/params/rmsNormGrad.generated.h"

namespace figment::cuda {

struct NormShape {
  int64_t n, spatial, c, groups;

  FIGMENT_BOTH int64_t width() const { return c / groups; }
  /// Elements of a group.
  FIGMENT_BOTH int64_t count() const { return spatial * width(); }
};

/// What the second result or hint of a normalisation is; beside a variance there is an unbiased
/// one.
enum class Spread : int { rstd, variance };

template <class W>
struct NormForward {
  NormShape shape;
  NormActivation<W> activation;
  Spread spread;
  W eps;
  Floats<W> x, gamma, beta;
  FloatResults<W> y, mean, second, unbiased;

#ifdef FIGMENT_KERNELS

  /// Sets what is a group's beside y.
  FIGMENT_DEVICE void setMoments(int64_t group, W center, W variance, W rstd) const {
    mean.set(group, center);
    second.set(group, spread == Spread::variance ? variance : rstd);
    if (spread == Spread::rstd) return;
    const W count = W(shape.count());
    unbiased.set(group, count > 1 ? variance * (count / (count - 1)) : variance);
  }

#endif
};

template <class W>
struct NormBackward {
  NormShape shape;
  NormActivation<W> activation;
  Spread spread;
  W eps;
  Floats<W> x, gamma, beta, mean, second, dy;
  FloatResults<W> dx, dgamma, dbeta;
};

template <class W>
NormForward<W> forwardOf(const OpCall& call, const NormShape& shape,
                         const NormActivation<W>& activation, Spread spread, double eps) {
  return {shape,
          activation,
          spread,
          W(eps),
          floatsOf<W>(call.in[0]),
          floatsOf<W>(call.in[1]),
          floatsOf<W>(call.in[2]),
          resultsOf<W>(call.out[0]),
          resultsOf<W>(call.out[1]),
          resultsOf<W>(call.out[2]),
          spread == Spread::variance ? resultsOf<W>(call.out[3]) : FloatResults<W>{}};
}
/// Operands in the order of groupNormGrad; `hasBeta` is false for layerNormGrad.
template <class W>
NormBackward<W> backwardOf(const OpCall& call, const NormShape& shape, bool hasBeta,
                           const NormActivation<W>& activation, Spread spread, double eps) {
  const Operand* const rest = call.in + (hasBeta ? 3 : 2);
  return {shape,
          activation,
          spread,
          W(eps),
          floatsOf<W>(call.in[0]),
          floatsOf<W>(call.in[1]),
          hasBeta ? floatsOf<W>(call.in[2]) : Floats<W>{},
          floatsOf<W>(rest[0]),
          floatsOf<W>(rest[1]),
          floatsOf<W>(rest[2]),
          resultsOf<W>(call.out[0]),
          resultsOf<W>(call.out[1]),
          resultsOf<W>(call.out[2])};
}

template <class W>
NormForward<W> groupNormOf(const OpCall& call) {
  const auto& p = call.as<GroupNormParams>();
  return forwardOf<W>(call, {p.n, p.spatial, p.c, p.groups}, NormActivation<W>::of(p), Spread::rstd,
                      p.eps);
}
template <class W>
NormForward<W> layerNormOf(const OpCall& call) {
  const auto& p = call.as<LayerNormParams>();
  return forwardOf<W>(call, {p.rows, 1, p.cols, 1}, {}, Spread::rstd, p.eps);
}
template <class W>
NormForward<W> batchNormOf(const OpCall& call) {
  const auto& p = call.as<BatchNormParams>();
  return forwardOf<W>(call, {1, p.rows, p.c, p.c}, NormActivation<W>::of(p), Spread::variance,
                      p.eps);
}
template <class W>
NormBackward<W> groupNormGradOf(const OpCall& call) {
  const auto& p = call.as<GroupNormGradParams>();
  return backwardOf<W>(call, {p.n, p.spatial, p.c, p.groups}, true, NormActivation<W>::of(p),
                       Spread::rstd, p.eps);
}
template <class W>
NormBackward<W> layerNormGradOf(const OpCall& call) {
  const auto& p = call.as<LayerNormGradParams>();
  return backwardOf<W>(call, {p.rows, 1, p.cols, 1}, false, {}, Spread::rstd, 0);
}
template <class W>
NormBackward<W> batchNormGradOf(const OpCall& call) {
  const auto& p = call.as<BatchNormGradParams>();
  return backwardOf<W>(call, {1, p.rows, p.c, p.c}, true, NormActivation<W>::of(p),
                       Spread::variance, p.eps);
}

}  // namespace figment::cuda
