// samplerStep in one pass, vectorised: operands are read once and noise is drawn in registers.
// Stores go through the caches: past them measured no faster, and the next model call reads the
// result.
#pragma once

#include "../norm/isa_variant.h"
#include "../params/samplerStep.generated.h"
#include "../random/normal.h"

namespace figment::FIGMENT_ISA {
namespace {

/// Elements per task, a multiple of every draw.
constexpr int64_t kStepGrain = 16384;

template <int kTensors>
struct SamplerStep {
  explicit SamplerStep(const OpCall& call)
      : p(call.as<SamplerStepParams>()),
        stream(Stream::fromState(call.in[1].as<const int32_t>())),
        out(call.out[0].as<float>()) {
    const float* coef = call.in[0].as<const float>();
    first = F32::broadcast(coef[0]);
    second = F32::broadcast(coef[1]);
    clean = F32::broadcast(coef[2]);
    sigma = F32::broadcast(coef[3]);
    low = F32::broadcast(p.lo);
    high = F32::broadcast(p.hi);
    for (int i = 0; i < kTensors; i++) {
      tensor[i] = call.in[2 + i].as<const float>();
      weight[i] = F32::broadcast(coef[4 + i]);
    }
  }

  /// The step at elements [i, i + lanes) before noise.
  FIGMENT_INLINE F32 mean(int64_t i, int lanes) const {
    F32 t[kTensors];
    for (int k = 0; k < kTensors; k++) t[k] = loadLanes(tensor[k] + i, lanes);
    F32 x0 = first * t[0];
    if constexpr (kTensors > 1) x0 = mulAdd(second, t[1], x0);
    // In this order of operands NaN stays NaN.
    if (p.clamp) x0 = min(high, max(low, x0));
    F32 sum = clean * x0;
    for (int k = 0; k < kTensors; k++) sum = mulAdd(weight[k], t[k], sum);
    return sum;
  }

  void quiet(int64_t begin, int64_t end) const {
    forLanes(end - begin, [&](int64_t i, int lanes) {
      storeLanes(out + begin + i, mean(begin + i, lanes), lanes);
    });
  }

  void noisy(int64_t begin, int64_t end) const {
    const Stream copy = stream;  // no store can change it
    for (int64_t i = begin; i < end; i += kNormals) {
      float z[kNormals];
      normals(copy, uint64_t(i) / 4, z);
      forLanes(smaller(kNormals, end - i), [&](int64_t j, int lanes) {
        storeLanes(out + i + j, mulAdd(sigma, F32::load(z + j), mean(i + j, lanes)), lanes);
      });
    }
  }

  void run(const OpCall& call, Context& context) const {
    context.parallelFor(p.size, kStepGrain, [&](int64_t begin, int64_t end, int) {
      p.noise ? noisy(begin, end) : quiet(begin, end);
    });
    stream.advance(p.noise ? p.size : 0, call.out[1].as<int32_t>());
  }

  const SamplerStepParams& p;
  Stream stream;
  float* out;
  const float* tensor[kTensors];
  F32 weight[kTensors];
  F32 first, second, clean, sigma, low, high;
};

void runSamplerStep(const OpCall& call, Context& context) {
  switch (call.as<SamplerStepParams>().tensors) {
    case 1:
      return SamplerStep<1>(call).run(call, context);
    case 2:
      return SamplerStep<2>(call).run(call, context);
    case 3:
      return SamplerStep<3>(call).run(call, context);
    case 4:
      return SamplerStep<4>(call).run(call, context);
    case 5:
      return SamplerStep<5>(call).run(call, context);
    default:
      return SamplerStep<6>(call).run(call, context);
  }
}

int supportsSamplerStep(const OpCall& call) {
  return call.out[0].format == Format::f32 ? kVariantPreference : -1;
}

constexpr Variant samplerStepVariant{"samplerStep",       kVariantName, kVariantIsa,
                                     supportsSamplerStep, nullptr,      runSamplerStep};
const RegisterVariant samplerStepVariantRegistrar{samplerStepVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
