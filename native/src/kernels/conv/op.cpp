// conv2d, conv2dInputGrad and conv2dWeightGrad over channels-last images [N,H,W,C] and weights
// [O,kH,kW,C/groups]. The three share one geometry: Ho = ⌊(H + padLo + padHi − dil·(kH−1) − 1) /
// stride⌋ + 1, and likewise Wo. This file holds the rules; see reference.cpp for the meaning.
#include "../op_spec.h"
#include "kernels/gemm/activation.h"
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/precision.h"
#include "kernels/kernel.h"
#include "kernels/params/conv2d.generated.h"
#include "kernels/params/conv2dInputGrad.generated.h"
#include "kernels/params/conv2dWeightGrad.generated.h"
#include "kernels/widened.h"

namespace figment {
namespace {

int64_t outputSize(int64_t input, int64_t padding, int64_t kernel, int64_t stride,
                   int64_t dilation) {
  const int64_t room = input + padding - dilation * (kernel - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

template <class P>
std::string checkGeometry(const P& p) {
  if (p.n < 0 || p.h < 0 || p.w < 0 || p.c < 0 || p.ho < 0 || p.wo < 0 || p.o < 0)
    return "negative dimension";
  if (p.kh < 1 || p.kw < 1) return "the kernel must have at least one tap";
  if (p.precision < 0 || p.precision > kLastPrecision) return "unknown precision";
  if (p.groups < 1 || p.c % p.groups != 0 || p.o % p.groups != 0)
    return "groups must divide the channels";
  for (int i = 0; i < 2; i++) {
    if (p.stride[i] < 1) return "stride must be positive";
    if (p.dilation[i] < 1) return "dilation must be positive";
    if (p.padLo[i] < 0 || p.padHi[i] < 0) return "padding must not be negative";
  }
  // 32-bit parameters: every product below fits 64 bits.
  const int64_t ho =
      outputSize(p.h, int64_t(p.padLo[0]) + p.padHi[0], p.kh, p.stride[0], p.dilation[0]);
  const int64_t wo =
      outputSize(p.w, int64_t(p.padLo[1]) + p.padHi[1], p.kw, p.stride[1], p.dilation[1]);
  if (p.ho != ho || p.wo != wo) return "ho, wo do not follow from the other parameters";
  return "";
}

enum class Role { image, weights, result };

template <class P>
bool hasRole(const P& p, const Operand& operand, Role role) {
  switch (role) {
    case Role::image:
      return operand.hasShape({p.n, p.h, p.w, p.c});
    case Role::weights:
      return operand.hasShape({p.o, p.kh, p.kw, p.c / p.groups});
    default:
      return operand.hasShape({p.n, p.ho, p.wo, p.o});
  }
}

/// Checks `first`, `second` → `out`, plus what the op reads where it stores.
template <class P>
std::string check(const OpCall& call, const char* name, Role first, Role second, Role out) {
  const std::string prefix = std::string(name) + ": ";
  const auto& p = call.as<P>();
  const auto epilogue = EpilogueOperands::of<P>(call);
  if (call.inCount != 2 + epilogue.count() || call.outCount != 1)
    return prefix + "wrong number of operands";
  std::string problem = floatFormatProblem(call, call.inCount);
  if (!problem.empty()) return prefix + problem;
  for (int i = 0; i < call.inCount; i++)
    if (!call.in[i].contiguous()) return prefix + "operands must be contiguous";
  if (!call.out[0].contiguous()) return prefix + "operands must be contiguous";
  problem = checkGeometry(p);
  if (!problem.empty()) return prefix + problem;
  if (!hasRole(p, call.in[0], first) || !hasRole(p, call.in[1], second) ||
      !hasRole(p, call.out[0], out))
    return prefix + "an operand does not have the shape its parameters say";
  if (epilogue.scale && !scalesColumns(*epilogue.scale, p.o))
    return prefix + "scale must have shape [o] or [1]";
  if (epilogue.bias && !epilogue.bias->hasShape({p.o})) return prefix + "bias must have shape [o]";
  if (epilogue.addend && !hasRole(p, *epilogue.addend, out))
    return prefix + "addend must have the result's shape";
  return "";
}

std::string checkForward(const OpCall& call) {
  const auto& p = call.as<Conv2dParams>();
  if (const char* flag = epilogueProblem(p)) return std::string("conv2d: ") + flag;
  if (p.activation < 0 || p.activation > kLastActivation) return "conv2d: unknown activation";
  return check<Conv2dParams>(call, "conv2d", Role::image, Role::weights, Role::result);
}

std::string checkInputGrad(const OpCall& call) {
  return check<Conv2dInputGradParams>(call, "conv2dInputGrad", Role::result, Role::weights,
                                      Role::image);
}

std::string checkWeightGrad(const OpCall& call) {
  return check<Conv2dWeightGradParams>(call, "conv2dWeightGrad", Role::image, Role::result,
                                       Role::weights);
}

template <class P>
Cost cost(const OpCall& call) {
  const auto& p = call.as<P>();
  const double positions = double(p.n) * double(p.ho) * double(p.wo);
  const double taps = double(p.kh) * double(p.kw) * double(p.c / p.groups);
  return {2.0 * positions * taps * double(p.o), operandBytes(call)};
}

const RegisterOp forward{
    specOf<Conv2dParams>("conv2d", checkForward, neverAliases, cost<Conv2dParams>)};
const RegisterOp inputGrad{specOf<Conv2dInputGradParams>(
    "conv2dInputGrad", checkInputGrad, neverAliases, cost<Conv2dInputGradParams>)};
const RegisterOp weightGrad{specOf<Conv2dWeightGradParams>(
    "conv2dWeightGrad", checkWeightGrad, neverAliases, cost<Conv2dWeightGradParams>)};

}  // namespace
}  // namespace figment
