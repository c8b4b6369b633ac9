// adam over many tensors at once, in f32 as on the CPU. What a step takes of its number is found
// once a block, in f64: 1 − βᵗ as −(e^(t ln β) − 1). Averages of the new weights, where there are
// any, move in the same pass.
#include <cmath>

#include "ema.h"
#include "kernels/params/adam.generated.h"

namespace figment::cuda {
namespace {

struct AdamInputs {
  Global<const float> rate, step, scale;
  double logBeta1, logBeta2, weightDecay;
  float beta1, beta2, rest1, rest2, eps;
  bool decoupled;
};

struct AdamStep {
  using Inputs = AdamInputs;
  static constexpr int kReads = 4, kWrites = 3;

#ifdef FIGMENT_KERNELS
  FIGMENT_DEVICE explicit AdamStep(const Inputs& in)
      : gradScale(in.scale[0]),
        gradDecay(in.decoupled ? 0.0f : float(in.weightDecay)),
        beta1(in.beta1),
        beta2(in.beta2),
        rest1(in.rest1),
        rest2(in.rest2),
        eps(in.eps) {
    FIGMENT_SHARED(float, shared, 3);
    if (threadIdx.x == 0) {
      const double lr = double(in.rate[0]), step = double(in.step[0]);
      shared[0] = in.decoupled ? float(1 - lr * in.weightDecay) : 1.0f;
      shared[1] = float(lr / (0 - ::expm1(step * in.logBeta1)));
      shared[2] = float(1 / ::sqrt(0 - ::expm1(step * in.logBeta2)));
    }
    __syncthreads();
    keep = shared[0];
    stepSize = shared[1];
    rootScale = shared[2];
  }

  FIGMENT_DEVICE void operator()(float (&x)[kReads]) const {
    const float grad = __fmaf_rn(gradDecay, x[0], __fmul_rn(x[1], gradScale));
    x[2] = __fmaf_rn(beta1, x[2], __fmul_rn(rest1, grad));
    x[3] = __fmaf_rn(beta2, x[3], __fmul_rn(__fmul_rn(rest2, grad), grad));
    const float root = __fmaf_rn(__fsqrt_rn(x[3]), rootScale, eps);
    x[0] = __fsub_rn(__fmul_rn(x[0], keep), __fdiv_rn(__fmul_rn(stepSize, x[2]), root));
  }
#endif

  float gradScale, gradDecay, beta1, beta2, rest1, rest2, eps, keep, stepSize, rootScale;
};

struct AveragedInputs {
  AdamInputs adam;
  EmaStep::Inputs average;
};

/// Adam of the operands before the last, the average.
struct AveragedAdamStep {
  using Inputs = AveragedInputs;
  static constexpr int kReads = AdamStep::kReads + 1, kWrites = AdamStep::kWrites + 1;

#ifdef FIGMENT_KERNELS
  FIGMENT_DEVICE explicit AveragedAdamStep(const Inputs& in) : adam(in.adam), average(in.average) {}

  FIGMENT_DEVICE void operator()(float (&x)[kReads]) const {
    float own[AdamStep::kReads] = {x[0], x[1], x[2], x[3]};
    adam(own);
    float pair[EmaStep::kReads] = {x[4], own[0]};
    average(pair);
    x[0] = own[0];
    x[2] = own[2];
    x[3] = own[3];
    x[4] = pair[0];
  }
#endif

  AdamStep adam;
  EmaStep average;
};

void run(const OpCall& call, Context& context) {
  const auto& p = call.as<AdamParams>();
  const AdamInputs inputs = {viewOf<const float>(call.in[0]),
                             viewOf<const float>(call.in[1]),
                             viewOf<const float>(call.in[2]),
                             std::log(p.beta1),
                             std::log(p.beta2),
                             p.weightDecay,
                             float(p.beta1),
                             float(p.beta2),
                             float(1 - p.beta1),
                             float(1 - p.beta2),
                             float(p.eps),
                             p.decoupled != 0};
  Launcher& launcher = launcherOf(context);
  if (p.averaged == 0) return updateAll<AdamStep>(launcher, call.in + 3, call.out, p.count, inputs);
  updateAll<AveragedAdamStep>(launcher, call.in + 4, call.out, p.count,
                              {inputs, {viewOf<const float>(call.in[3])}});
}

/// Logarithms of β must exist.
int supports(const OpCall& call) {
  const auto& p = call.as<AdamParams>();
  return p.beta1 >= 0 && p.beta2 >= 0 ? supportsF32(call) : -1;
}

const RegisterVariant registrar{multiTensorVariant("adam", supports, run)};

}  // namespace
}  // namespace figment::cuda
