// addNoise, vectorised: samples in chunks, each chunk one multiply and one fused multiply-add.
// Large results are written past the caches.
#pragma once

#include "../norm/isa_variant.h"
#include "../params/addNoise.generated.h"
#include "../simd/streaming.h"
#include "timesteps.h"

namespace figment::FIGMENT_ISA {
namespace {

template <bool kStream>
void addNoiseSpan(const float* x, const float* noise, float* out, int64_t elements, float a,
                  float b) {
  const F32 scale = F32::broadcast(a), sigma = F32::broadcast(b);
  forLanes(elements, [&](int64_t i, int lanes) {
    const F32 scaled = scale * loadLanes(x + i, lanes);
    const F32 mixed = mulAdd(sigma, loadLanes(noise + i, lanes), scaled);
    if (kStream && lanes == kLanes)
      mixed.stream(out + i);
    else
      storeLanes(out + i, mixed, lanes);
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
  // A sample that is no number of vectors would leave the next one between them.
  const bool past = p.inner % kLanes == 0 && x != out && noise != out &&
                    worthStreaming(out, p.n * p.inner * int64_t(sizeof(float)));
  context.parallelFor(p.n * p.inner, kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end;) {
      const int64_t sample = i / p.inner;
      const int64_t last = smaller(end, (sample + 1) * p.inner);
      const auto span = past ? addNoiseSpan<true> : addNoiseSpan<false>;
      span(x + i, noise + i, out + i, last - i, a[t[sample]], b[t[sample]]);
      i = last;
    }
    if (past) streamFence();
  });
}

constexpr Variant addNoiseVariant{"addNoise",  kVariantName, kVariantIsa,
                                  supportsF32, nullptr,      runAddNoise};
const RegisterVariant addNoiseVariantRegistrar{addNoiseVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
