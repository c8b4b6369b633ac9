// emaUpdate over many tensors at once.
#include "ema.h"
#include "kernels/params/emaUpdate.generated.h"

namespace figment::cuda {
namespace {

void run(const OpCall& call, Context& context) {
  updateAll<EmaStep>(launcherOf(context), call.in + 1, call.out, call.as<EmaUpdateParams>().count,
                     {viewOf<const float>(call.in[0])});
}

const RegisterVariant registrar{multiTensorVariant("emaUpdate", supportsF32, run)};

}  // namespace
}  // namespace figment::cuda
