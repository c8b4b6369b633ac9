// flash-mma: which calls the kernels of flash_mma.h run.
#include "flash_mma.h"
#include "flash_simt.h"

namespace figment::cuda {

extern template void runFlashMma<Bf16>(const OpCall&, Launcher&);
extern template void runFlashMma<F16>(const OpCall&, Launcher&);

namespace {

int supports(const OpCall& call) {
  const auto& p = call.as<AttentionParams>();
  const Format format = call.in[0].format;
  return (format == Format::bf16 || format == Format::f16) && allOf(call.in, 3, format) &&
                 p.d > 0 && p.d <= 160 && p.d % 8 == 0 && p.scale > 0
             ? 20
             : -1;
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  // Parts of other values may begin anywhere.
  if (!alignedForVectors(call.in, 3) || !alignedForVectors(call.out, 2))
    runFlashSimt(call, launcher);
  else if (call.in[0].format == Format::bf16)
    runFlashMma<Bf16>(call, launcher);
  else
    runFlashMma<F16>(call, launcher);
}

const RegisterVariant registrar{{.op = "attention",
                                 .name = "flash-mma",
                                 .isa = Isa::sm80,
                                 .supports = supports,
                                 .scratch = nullptr,
                                 .run = run}};

}  // namespace
}  // namespace figment::cuda
