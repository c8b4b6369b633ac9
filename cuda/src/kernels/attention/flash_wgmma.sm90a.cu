// flash-wgmma: which calls the kernels of flash_wgmma.h and flash_grad_wgmma.h run.
#include "any_floats.h"
#include "flash_simt.h"
#include "mend.h"

namespace figment::cuda {

template <class T>
void runFlashWgmma(const OpCall& call, Launcher& launcher);
extern template void runFlashWgmma<Bf16>(const OpCall&, Launcher&);
extern template void runFlashWgmma<F16>(const OpCall&, Launcher&);
template <class T>
void runFlashGradWgmma(const OpCall& call, Launcher& launcher);
extern template void runFlashGradWgmma<Bf16>(const OpCall&, Launcher&);
extern template void runFlashGradWgmma<F16>(const OpCall&, Launcher&);

namespace {

// Below so many keys its start-up is not repaid: 256 keys take 47 µs where mma takes 33 (H200). The
// derivative's own limit has not been measured.
constexpr int64_t kFew = 512;

template <class Params>
bool fits(const OpCall& call, int mostDim, int results) {
  const auto& p = call.as<Params>();
  const Format format = call.in[0].format;
  // Positions of all batch entries are one axis of the copy engine, which counts in 31 bits.
  constexpr double kMostPositions = 2e9;
  return (format == Format::bf16 || format == Format::f16) && allOf(call.in, 3, format) &&
         storesPairs(call, results) && p.b > 0 && p.h > 0 && p.sq > 0 && p.sk > 0 && p.d > 0 &&
         p.d <= mostDim && p.d % 8 == 0 && p.scale > 0 && double(p.b) * p.sq < kMostPositions &&
         double(p.b) * p.sk < kMostPositions;
}
int supportsForward(const OpCall& call) {
  if (!fits<AttentionParams>(call, 160, 1)) return -1;
  return call.as<AttentionParams>().sk < kFew ? kOnRequest : 40;
}
int supportsBackward(const OpCall& call) {
  // Of heads of more than 128 elements, registers do not hold the sums of 64 keys and their scores.
  if (!fits<AttentionGradParams>(call, 128, 3) || call.in[5].format != call.in[0].format) return -1;
  const auto& p = call.as<AttentionGradParams>();
  return p.sk < kFew || p.sq < kFew ? kOnRequest : 40;
}

/// Parts of other values may begin anywhere.
bool aligned(const OpCall& call) {
  return alignedForVectors(call.in, call.inCount) && alignedForVectors(call.out, call.outCount);
}

void runForward(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  if (!aligned(call)) return runFlashSimt(call, launcher);
  if (call.in[0].format == Format::bf16)
    runFlashWgmma<Bf16>(call, launcher);
  else
    runFlashWgmma<F16>(call, launcher);
  mendAttention(call, launcher);
}
void runBackward(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  if (!aligned(call)) return runFlashSimtGrad(call, launcher);
  if (call.in[0].format == Format::bf16)
    runFlashGradWgmma<Bf16>(call, launcher);
  else
    runFlashGradWgmma<F16>(call, launcher);
  mendAttentionGrad(call, launcher);
}

const RegisterVariant forward{{.op = "attention",
                               .name = "flash-wgmma",
                               .isa = Isa::sm90a,
                               .supports = supportsForward,
                               .scratch = nullptr,
                               .run = runForward}};
const RegisterVariant backward{
    {.op = "attentionGrad",
     .name = "flash-wgmma",
     .isa = Isa::sm90a,
     .supports = supportsBackward,
     .scratch = [](const OpCall& call, int) { return mendGradBytes(call); },
     .run = runBackward}};

}  // namespace
}  // namespace figment::cuda
