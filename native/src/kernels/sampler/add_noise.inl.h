// addNoise, vectorised: samples in chunks, each chunk one multiply and one fused multiply-add.
#pragma once

#include "../norm/isa_variant.h"
#include "../params/addNoise.generated.h"
#include "timesteps.h"

namespace figment::FIGMENT_ISA {
namespace {

void addNoiseSpan(const float* x, const float* noise, float* out, int64_t elements, float a,
                  float b) {
  const F32 scale = F32::broadcast(a), sigma = F32::broadcast(b);
  forLanes(elements, [&](int64_t i, int lanes) {
    const F32 scaled = scale * loadLanes(x + i, lanes);
    storeLanes(out + i, mulAdd(sigma, loadLanes(noise + i, lanes), scaled), lanes);
  });
}

void runAddNoise(const OpCall& call, Context& context) {
  const auto& p = call.as<AddNoiseParams>();
  const float* x = call.in[0].as<const float>();
  const float* noise = call.in[1].as<const float>();
  const int32_t* t = call.in[2].as<const int32_t>();
  const float* a = call.in[3].as<const float>();
  const float* b = call.in[4].as<const float>();
  float* out = call.out[0].as<float>();
  if (p.inner == 0 || !timestepsInRange(t, p.n, p.steps, context)) return;
  // Tasks cut the flat tensor; within a task samples follow one another.
  constexpr int64_t kGrain = 16384;
  context.parallelFor(p.n * p.inner, kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end;) {
      const int64_t sample = i / p.inner;
      const int64_t last = smaller(end, (sample + 1) * p.inner);
      addNoiseSpan(x + i, noise + i, out + i, last - i, a[t[sample]], b[t[sample]]);
      i = last;
    }
  });
}

constexpr Variant addNoiseVariant{"addNoise",  kVariantName, kVariantIsa,
                                  supportsF32, nullptr,      runAddNoise};
const RegisterVariant addNoiseVariantRegistrar{addNoiseVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
