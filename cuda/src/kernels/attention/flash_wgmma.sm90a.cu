// flash-wgmma: which calls the kernels of flash_wgmma.h run.
#include "any_floats.h"
#include "flash_simt.h"

namespace figment::cuda {

template <class T>
void runFlashWgmma(const OpCall& call, Launcher& launcher);
extern template void runFlashWgmma<Bf16>(const OpCall&, Launcher&);
extern template void runFlashWgmma<F16>(const OpCall&, Launcher&);

namespace {

int supports(const OpCall& call) {
  const auto& p = call.as<AttentionParams>();
  const Format format = call.in[0].format;
  // Below so many keys its start-up is not repaid: 256 keys take 47 µs where mma takes 33 (H200).
  constexpr int64_t kFewKeys = 512;
  // Positions of all batch entries are one axis of the copy engine, which counts in 31 bits.
  constexpr double kMostPositions = 2e9;
  return (format == Format::bf16 || format == Format::f16) && allOf(call.in, 3, format) &&
                 p.b > 0 && p.h > 0 && p.sq > 0 && p.sk > 0 && p.d > 0 && p.d <= 160 &&
                 p.d % 8 == 0 && p.scale > 0 && double(p.b) * p.sq < kMostPositions &&
                 double(p.b) * p.sk < kMostPositions
             ? (p.sk < kFewKeys ? kOnRequest : 40)
             : -1;
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  // Parts of other values may begin anywhere.
  if (!alignedForVectors(call.in, call.inCount) || !alignedForVectors(call.out, call.outCount))
    runFlashSimt(call, launcher);
  else if (call.in[0].format == Format::bf16)
    runFlashWgmma<Bf16>(call, launcher);
  else
    runFlashWgmma<F16>(call, launcher);
}

const RegisterVariant registrar{{.op = "attention",
                                 .name = "flash-wgmma",
                                 .isa = Isa::sm90a,
                                 .supports = supports,
                                 .scratch = nullptr,
                                 .run = run}};

}  // namespace
}  // namespace figment::cuda
