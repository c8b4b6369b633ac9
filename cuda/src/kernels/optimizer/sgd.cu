// sgd over many tensors at once.
#include "kernels/params/sgd.generated.h"
#include "update.h"

namespace figment::cuda {
namespace {

struct SgdInputs {
  Global<const float> rate, scale;
  float decay, momentum;
  bool nesterov;
};

/// Operands: parameter, gradient and, where there is one, the buffer.
template <bool kBuffered>
struct SgdStep {
  using Inputs = SgdInputs;
  static constexpr int kReads = kBuffered ? 3 : 2, kWrites = kBuffered ? 2 : 1;

#ifdef FIGMENT_KERNELS
  FIGMENT_DEVICE explicit SgdStep(const Inputs& in)
      : lr(in.rate[0]),
        gradScale(in.scale[0]),
        decay(in.decay),
        momentum(in.momentum),
        nesterov(in.nesterov) {}
  FIGMENT_DEVICE void operator()(float (&x)[kReads]) const {
    const float grad = __fmaf_rn(decay, x[0], __fmul_rn(x[1], gradScale));
    float direction = grad;
    if constexpr (kBuffered) {
      x[2] = __fmaf_rn(momentum, x[2], grad);
      direction = nesterov ? __fmaf_rn(momentum, x[2], grad) : x[2];
    }
    x[0] = __fsub_rn(x[0], __fmul_rn(lr, direction));
  }
#endif

  float lr, gradScale, decay, momentum;
  bool nesterov;
};

void run(const OpCall& call, Context& context) {
  const auto& p = call.as<SgdParams>();
  const SgdInputs inputs = {viewOf<const float>(call.in[0]), viewOf<const float>(call.in[1]),
                            float(p.weightDecay), float(p.momentum), p.nesterov != 0};
  (p.buffered ? updateAll<SgdStep<true>> : updateAll<SgdStep<false>>)(launcherOf(context),
                                                                      call.in + 2, call.out,
                                                                      p.count, inputs);
}

const RegisterVariant registrar{multiTensorVariant("sgd", supportsF32, run)};

}  // namespace
}  // namespace figment::cuda
