// flash-mma: which calls the kernels of flash_mma.h and flash_grad_mma.h run.
#include "flash_grad_mma.h"
#include "flash_mma.h"
#include "flash_simt.h"
#include "mend.h"

namespace figment::cuda {

extern template void runFlashMma<Bf16>(const OpCall&, Launcher&);
extern template void runFlashMma<F16>(const OpCall&, Launcher&);
extern template void runFlashGradMma<Bf16>(const OpCall&, Launcher&);
extern template void runFlashGradMma<F16>(const OpCall&, Launcher&);

namespace {

template <class Params>
bool fits(const OpCall& call, int mostDim, int results) {
  const auto& p = call.as<Params>();
  const Format format = call.in[0].format;
  return (format == Format::bf16 || format == Format::f16) && allOf(call.in, 3, format) &&
         storesPairs(call, results) && p.d > 0 && p.d <= mostDim && p.d % 8 == 0 && p.scale > 0;
}
int supportsBackward(const OpCall& call) {
  return fits<AttentionGradParams>(call, 160, 3) && call.in[5].format == call.in[0].format ? 20
                                                                                           : -1;
}

/// Parts of other values may begin anywhere.
bool aligned(const OpCall& call) {
  return alignedForVectors(call.in, call.inCount) && alignedForVectors(call.out, call.outCount);
}

void runForward(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  if (!aligned(call)) return runFlashSimt(call, launcher);
  if (call.in[0].format == Format::bf16)
    runFlashMma<Bf16>(call, launcher);
  else
    runFlashMma<F16>(call, launcher);
  mendAttention(call, launcher);
}
void runBackward(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  if (!aligned(call)) return runFlashSimtGrad(call, launcher);
  if (call.in[0].format == Format::bf16)
    runFlashGradMma<Bf16>(call, launcher);
  else
    runFlashGradMma<F16>(call, launcher);
  mendAttentionGrad(call, launcher);
}

const RegisterVariant forward{
    {.op = "attention",
     .name = "flash-mma",
     .isa = Isa::sm80,
     .supports = [](const OpCall& call) { return supportsFlashMma(call, 256); },
     .scratch = nullptr,
     .run = runForward}};
const RegisterVariant backward{
    {.op = "attentionGrad",
     .name = "flash-mma",
     .isa = Isa::sm80,
     .supports = supportsBackward,
     .scratch = [](const OpCall& call, int) { return mendGradBytes(call); },
     .run = runBackward}};

}  // namespace

int supportsFlashMma(const OpCall& call, int mostDim) {
  return fits<AttentionParams>(call, mostDim, 1) ? 20 : -1;
}

}  // namespace figment::cuda
