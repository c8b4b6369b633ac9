// samplerStep in one pass, vectorised: operands are read once, in their own format, and noise is
// drawn in registers. Large f32 results are written past the caches.
#pragma once

#include "../gemm/elements.inl.h"
#include "../norm/isa_variant.h"
#include "../params/samplerStep.generated.h"
#include "../random/normal.h"
#include "../simd/streaming.h"

namespace figment::FIGMENT_ISA {
namespace {

using gemm::Elements;
using gemm::Results;

/// Elements per task, a multiple of every draw.
constexpr int64_t kStepGrain = 16384;

template <int kTensors, Format kFormat>
struct SamplerStep {
  explicit SamplerStep(const OpCall& call)
      : p(call.as<SamplerStepParams>()), out(call.out[0].as<std::byte>()) {
    if (p.noise) stream = Stream::fromState(call.in[1 + kTensors].as<const int32_t>());
    const float* coef = call.in[0].as<const float>();
    first = F32::broadcast(coef[0]);
    second = F32::broadcast(coef[1]);
    clean = F32::broadcast(coef[2]);
    sigma = F32::broadcast(coef[3]);
    low = F32::broadcast(p.lo);
    high = F32::broadcast(p.hi);
    for (int i = 0; i < kTensors; i++) {
      tensor[i] = call.in[1 + i].as<const std::byte>();
      weight[i] = F32::broadcast(coef[4 + i]);
    }
  }

  /// The step at elements [i, i + lanes) before noise.
  FIGMENT_INLINE F32 mean(int64_t i, int lanes) const {
    F32 t[kTensors];
    for (int k = 0; k < kTensors; k++)
      t[k] = gemm::loadElements(Elements{tensor[k], kFormat} + i, lanes);
    F32 x0 = first * t[0];
    if constexpr (kTensors > 1) x0 = mulAdd(second, t[1], x0);
    // In this order of operands NaN stays NaN.
    if (p.clamp) x0 = min(high, max(low, x0));
    F32 sum = clean * x0;
    for (int k = 0; k < kTensors; k++) sum = mulAdd(weight[k], t[k], sum);
    return sum;
  }

  template <bool kStream>
  FIGMENT_INLINE void keep(int64_t i, F32 value, int lanes) const {
    const Results to = Results{out, kFormat} + i;
    if (kStream && lanes == kLanes)
      value.stream(to.floats());
    else
      gemm::storeElements(to, value, lanes);
  }

  template <bool kStream>
  void quiet(int64_t begin, int64_t end) const {
    forLanes(end - begin, [&](int64_t i, int lanes) {
      keep<kStream>(begin + i, mean(begin + i, lanes), lanes);
    });
  }

  template <bool kStream>
  void noisy(int64_t begin, int64_t end) const {
    const Stream copy = stream;  // no store can change it
    for (int64_t i = begin; i < end; i += kNormals) {
      float z[kNormals];
      normals(copy, uint64_t(i) / 4, z);
      forLanes(smaller(kNormals, end - i), [&](int64_t j, int lanes) {
        keep<kStream>(i + j, mulAdd(sigma, F32::load(z + j), mean(i + j, lanes)), lanes);
      });
    }
  }

  template <bool kStream>
  void steps(int64_t begin, int64_t end) const {
    p.noise ? noisy<kStream>(begin, end) : quiet<kStream>(begin, end);
    if (kStream) streamFence();
  }

  /// A result in the place of an operand is in the caches already.
  bool streams() const {
    if constexpr (kFormat != Format::f32) return false;
    for (int k = 0; k < kTensors; k++)
      if (tensor[k] == out) return false;
    return worthStreaming(reinterpret_cast<const float*>(out), p.size * int64_t(sizeof(float)));
  }

  void run(const OpCall& call, Context& context) const {
    const bool past = streams();
    context.parallelFor(p.size, kStepGrain, [&](int64_t begin, int64_t end, int) {
      if constexpr (kFormat == Format::f32) {
        if (past) return steps<true>(begin, end);
      }
      steps<false>(begin, end);
    });
    if (p.noise) stream.advance(p.size, call.out[1].as<int32_t>());
  }

  const SamplerStepParams& p;
  Stream stream = {};
  std::byte* out;
  const std::byte* tensor[kTensors];
  F32 weight[kTensors];
  F32 first, second, clean, sigma, low, high;
};

template <Format kFormat>
void runSamplerStepOf(const OpCall& call, Context& context) {
  switch (call.as<SamplerStepParams>().tensors) {
    case 1:
      return SamplerStep<1, kFormat>(call).run(call, context);
    case 2:
      return SamplerStep<2, kFormat>(call).run(call, context);
    case 3:
      return SamplerStep<3, kFormat>(call).run(call, context);
    case 4:
      return SamplerStep<4, kFormat>(call).run(call, context);
    case 5:
      return SamplerStep<5, kFormat>(call).run(call, context);
    default:
      return SamplerStep<6, kFormat>(call).run(call, context);
  }
}

void runSamplerStep(const OpCall& call, Context& context) {
  switch (call.out[0].format) {
    case Format::bf16:
      return runSamplerStepOf<Format::bf16>(call, context);
    case Format::f16:
      return runSamplerStepOf<Format::f16>(call, context);
    default:
      return runSamplerStepOf<Format::f32>(call, context);
  }
}

int supportsSamplerStep(const OpCall& call) {
  return gemm::isTileFormat(call.out[0].format) ? kVariantPreference : -1;
}

constexpr Variant samplerStepVariant{"samplerStep",       kVariantName, kVariantIsa,
                                     supportsSamplerStep, nullptr,      runSamplerStep};
const RegisterVariant samplerStepVariantRegistrar{samplerStepVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
