// emaUpdate over many tensors at once.
#include "kernels/params/emaUpdate.generated.h"
#include "update.h"

namespace figment::cuda {
namespace {

struct EmaStep {
  struct Inputs {
    Global<const float> decay;
  };
  static constexpr int kReads = 2, kWrites = 1;

#ifdef FIGMENT_KERNELS
  FIGMENT_DEVICE explicit EmaStep(const Inputs& in)
      : decay(in.decay[0]), rest(float(1 - double(decay))) {}
  FIGMENT_DEVICE void operator()(float (&x)[kReads]) const {
    x[0] = __fmaf_rn(rest, x[1], __fmul_rn(decay, x[0]));
  }
#endif

  float decay, rest;
};

void run(const OpCall& call, Context& context) {
  updateAll<EmaStep>(launcherOf(context), call.in + 1, call.out, call.as<EmaUpdateParams>().count,
                     {viewOf<const float>(call.in[0])});
}

const RegisterVariant registrar{multiTensorVariant("emaUpdate", supportsF32, run)};

}  // namespace
}  // namespace figment::cuda
