// flash-mma: which calls the kernels of flash_mma.h and flash_grad_mma.h run.
#include "halves.h"

namespace figment::cuda {
namespace {

const RegisterVariant forward{forwardOfHalves<runFlashMma<Bf16>, runFlashMma<F16>>(
    "flash-mma", Isa::sm80, [](const OpCall& call) { return supportsFlashMma(call, 256); })};
const RegisterVariant backward{backwardOfHalves<runFlashGradMma<Bf16>, runFlashGradMma<F16>>(
    "flash-mma", Isa::sm80,
    [](const OpCall& call) { return fitsHalvesBackward(call, 160) ? 20 : -1; })};

}  // namespace

int supportsFlashMma(const OpCall& call, int mostDim) {
  return fitsHalvesForward(call, mostDim) ? 20 : -1;
}

}  // namespace figment::cuda
