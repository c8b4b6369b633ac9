// rmsprop over many tensors at once.
#include "kernels/params/rmsprop.generated.h"
#include "update.h"

namespace figment::cuda {
namespace {

struct RmspropInputs {
  Global<const float> rate, scale;
  float decay, alpha, rest, eps, momentum;
};

/// Operands: parameter, gradient, mean square and, where there are such, mean and buffer.
template <bool kCentered, bool kBuffered>
struct RmspropStep {
  using Inputs = RmspropInputs;
  static constexpr int kReads = 3 + int(kCentered) + int(kBuffered), kWrites = kReads - 1;

#ifdef FIGMENT_KERNELS
  FIGMENT_DEVICE explicit RmspropStep(const Inputs& in)
      : lr(in.rate[0]),
        gradScale(in.scale[0]),
        decay(in.decay),
        alpha(in.alpha),
        rest(in.rest),
        eps(in.eps),
        momentum(in.momentum) {}
  FIGMENT_DEVICE void operator()(float (&x)[kReads]) const {
    const float grad = __fmaf_rn(decay, x[0], __fmul_rn(x[1], gradScale));
    x[2] = __fmaf_rn(alpha, x[2], __fmul_rn(__fmul_rn(rest, grad), grad));
    float variance = x[2];
    if constexpr (kCentered) {
      x[3] = __fmaf_rn(alpha, x[3], __fmul_rn(rest, grad));
      variance = __fmaf_rn(-x[3], x[3], x[2]);
      variance = variance < 0 ? 0.0f : variance;  // NaN stays NaN
    }
    float direction = __fdiv_rn(grad, __fadd_rn(__fsqrt_rn(variance), eps));
    if constexpr (kBuffered) {
      direction = __fmaf_rn(momentum, x[kReads - 1], direction);
      x[kReads - 1] = direction;
    }
    x[0] = __fsub_rn(x[0], __fmul_rn(lr, direction));
  }
#endif

  float lr, gradScale, decay, alpha, rest, eps, momentum;
};

void run(const OpCall& call, Context& context) {
  const auto& p = call.as<RmspropParams>();
  const RmspropInputs inputs = {viewOf<const float>(call.in[0]),
                                viewOf<const float>(call.in[1]),
                                float(p.weightDecay),
                                float(p.alpha),
                                float(1 - p.alpha),
                                float(p.eps),
                                float(p.momentum)};
  const auto update =
      p.centered
          ? (p.buffered ? updateAll<RmspropStep<true, true>> : updateAll<RmspropStep<true, false>>)
          : (p.buffered ? updateAll<RmspropStep<false, true>>
                        : updateAll<RmspropStep<false, false>>);
  update(launcherOf(context), call.in + 2, call.out, p.count, inputs);
}

const RegisterVariant registrar{multiTensorVariant("rmsprop", supportsF32, run)};

}  // namespace
}  // namespace figment::cuda
