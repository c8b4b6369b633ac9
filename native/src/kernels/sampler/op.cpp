// Diffusion arithmetic in one pass each.
//   addNoise: out[i,:] = a[tᵢ]·x0[i,:] + b[tᵢ]·noise[i,:]  (Ho et al., 2020, eq. 4)
//   samplerStep: a step of any linear sampler (DDPM, DDIM, DPM-Solver++, …) from its coefficients:
//     x0 = coef[0]·t₀ + coef[1]·t₁, clamped to [lo,hi] when asked,
//     out = coef[2]·x0 + Σᵢ coef[4+i]·tᵢ + coef[3]·z, with z the randomNormal stream of rngState;
//     operands are coef, the tensors and, where noise is drawn, rngState, results out and newState
#include "../norm/dense_check.h"
#include "../op_spec.h"
#include "../params/addNoise.generated.h"
#include "../params/samplerStep.generated.h"

namespace figment {
namespace {

constexpr int32_t kMaxTensors = 6;
constexpr int64_t kCoefficients = 12;

std::string checkAddNoise(const OpCall& call) {
  const auto& p = call.as<AddNoiseParams>();
  DenseCheck check("addNoise", call, 5, 1);
  const Format format = check.floating(0);
  return check.input(0, "x0", format, {p.n, p.inner})
      .input(1, "noise", format, {p.n, p.inner})
      .input(2, "t", Format::i32, {p.n})
      .input(3, "a", format, {p.steps})
      .input(4, "b", format, {p.steps})
      .output(0, "out", format, {p.n, p.inner})
      .done();
}

std::string checkSamplerStep(const OpCall& call) {
  const auto& p = call.as<SamplerStepParams>();
  DenseCheck check("samplerStep", call, 1 + int64_t(p.tensors) + p.noise, 1 + int64_t(p.noise));
  check.require(p.tensors >= 1 && p.tensors <= kMaxTensors, "takes 1 to 6 tensors")
      .require(p.noise == 0 || p.noise == 1, "noise is 0 or 1")
      .require(p.clamp == 0 || p.clamp == 1, "clamp is 0 or 1");
  const Format format = check.anyFloating(1);
  check.input(0, "coef", Format::f32, {kCoefficients});
  for (int32_t i = 0; i < p.tensors && check.ok(); i++) check.input(1 + i, "t", format, {p.size});
  check.output(0, "out", format, {p.size});
  if (p.noise && check.ok())
    check.input(1 + p.tensors, "rngState", Format::i32, {4})
        .output(1, "newState", Format::i32, {4});
  return check.done();
}

bool addNoiseInPlace(const OpCall&, int, int in) { return in <= 1; }
bool samplerInPlace(const OpCall& call, int out, int in) {
  const int state = 1 + call.as<SamplerStepParams>().tensors;
  return out == 0 ? in >= 1 && in < state : in == state;
}

Cost costAddNoise(const OpCall& call) {
  return {3.0 * double(call.out[0].elements()), operandBytes(call)};
}
/// Philox and Box–Muller are counted as 40 operations a number.
Cost costSamplerStep(const OpCall& call) {
  const auto& p = call.as<SamplerStepParams>();
  const double perElement = 2.0 * p.tensors + 4 + 2 * p.clamp + 40.0 * p.noise;
  return {perElement * double(call.out[0].elements()), operandBytes(call)};
}

const RegisterOp addNoise{
    specOf<AddNoiseParams>("addNoise", checkAddNoise, addNoiseInPlace, costAddNoise)};
const RegisterOp samplerStep{
    specOf<SamplerStepParams>("samplerStep", checkSamplerStep, samplerInPlace, costSamplerStep)};

}  // namespace
}  // namespace figment
