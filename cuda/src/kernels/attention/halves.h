// Calls on tensor cores: operands of one 16-bit format, results of that or f32.
#pragma once

#include "calls.h"

namespace figment::cuda {

/// Calls of `results` results that kernels for heads of whole vectors take.
template <class Params>
bool fitsHalves(const OpCall& call, int mostDim, int results) {
  const auto& p = call.as<Params>();
  const Format format = call.in[0].format;
  return (format == Format::bf16 || format == Format::f16) && allOf(call.in, 3, format) &&
         storesPairs(call, results) && p.d > 0 && p.d <= mostDim && p.d % 8 == 0 && p.scale > 0;
}
inline bool fitsHalvesForward(const OpCall& call, int mostDim) {
  return fitsHalves<AttentionParams>(call, mostDim, 1);
}
inline bool fitsHalvesBackward(const OpCall& call, int mostDim) {
  return fitsHalves<AttentionGradParams>(call, mostDim, 3) &&
         call.in[5].format == call.in[0].format;
}

using RunAttention = void (*)(const OpCall&, Launcher&);
template <RunAttention ofBf16, RunAttention ofF16, RunAttention unaligned, RunAttention mend>
void runHalves(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  // Parts of other values may begin anywhere.
  if (!alignedForVectors(call.in, call.inCount) || !alignedForVectors(call.out, call.outCount))
    return unaligned(call, launcher);
  (call.in[0].format == Format::bf16 ? ofBf16 : ofF16)(call, launcher);
  mend(call, launcher);
}
template <RunAttention ofBf16, RunAttention ofF16>
constexpr Variant forwardOfHalves(const char* name, Isa isa, int (*supports)(const OpCall&)) {
  return {.op = "attention",
          .name = name,
          .isa = isa,
          .supports = supports,
          .scratch = nullptr,
          .run = runHalves<ofBf16, ofF16, runFlashSimt, mendAttention>};
}
template <RunAttention ofBf16, RunAttention ofF16>
constexpr Variant backwardOfHalves(const char* name, Isa isa, int (*supports)(const OpCall&)) {
  return {.op = "attentionGrad",
          .name = name,
          .isa = isa,
          .supports = supports,
          .scratch = [](const OpCall& call, int) { return mendGradBytes(call); },
          .run = runHalves<ofBf16, ofF16, runFlashSimtGrad, mendAttentionGrad>};
}

}  // namespace figment::cuda
