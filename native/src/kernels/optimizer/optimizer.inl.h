// adam, emaUpdate and sumSquares over many tensors at once, vectorised. Formulas: op.cpp.
#pragma once

#include "../params/adam.generated.h"
#include "../params/emaUpdate.generated.h"
#include "../simd/streaming.h"
#include "multi_tensor.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

/// The scalars of one Adam step, in every lane.
struct AdamStep {
  F32 gradScale, gradDecay, keep, beta1, beta2, rest1, rest2, stepSize, rootScale, eps;

  AdamStep(const AdamParams& p, double lr, double step, double scale)
      : gradScale(F32::broadcast(float(scale))),
        gradDecay(F32::broadcast(p.decoupled ? 0.0f : float(p.weightDecay))),
        keep(F32::broadcast(p.decoupled ? float(1 - lr * p.weightDecay) : 1.0f)),
        beta1(F32::broadcast(float(p.beta1))),
        beta2(F32::broadcast(float(p.beta2))),
        rest1(F32::broadcast(float(1 - p.beta1))),
        rest2(F32::broadcast(float(1 - p.beta2))),
        stepSize(F32::broadcast(float(lr / (1 - __builtin_pow(p.beta1, step))))),
        rootScale(F32::broadcast(float(1 / __builtin_sqrt(1 - __builtin_pow(p.beta2, step))))),
        eps(F32::broadcast(float(p.eps))) {}

  FIGMENT_INLINE void operator()(F32& weight, F32 grad, F32& mean, F32& square) const {
    grad = mulAdd(gradDecay, weight, grad * gradScale);
    mean = mulAdd(beta1, mean, rest1 * grad);
    square = mulAdd(beta2, square, rest2 * grad * grad);
    const F32 root = mulAdd(sqrt(square), rootScale, eps);
    weight = weight * keep - stepSize * mean / root;
  }
};

/// The scalars of one move of averages, in every lane.
struct EmaStep {
  F32 decay, rest;

  explicit EmaStep(float value)
      : decay(F32::broadcast(value)), rest(F32::broadcast(float(1 - double(value)))) {}

  FIGMENT_INLINE F32 operator()(F32 target, F32 source) const {
    return mulAdd(rest, source, decay * target);
  }
};

/// Pointers to one piece of a parameter's tensors; of averages, where there are any.
struct AdamPiece {
  const float *w, *g, *m, *v, *a;
  float *newW, *newM, *newV, *newA;
};

template <bool kStream>
FIGMENT_INLINE void adamPiece(const AdamStep& step, const EmaStep& average, const AdamPiece& at,
                              int64_t elements) {
  const auto keep = [](float* to, F32 value, int lanes) {
    lanes == kLanes ? storeOrStream<kStream>(value, to) : storeLanes(to, value, lanes);
  };
  forLanes(elements, [&](int64_t i, int lanes) {
    F32 weight = loadLanes(at.w + i, lanes), mean = loadLanes(at.m + i, lanes),
        square = loadLanes(at.v + i, lanes);
    step(weight, loadLanes(at.g + i, lanes), mean, square);
    keep(at.newW + i, weight, lanes);
    keep(at.newM + i, mean, lanes);
    keep(at.newV + i, square, lanes);
    if (at.a) keep(at.newA + i, average(loadLanes(at.a + i, lanes), weight), lanes);
  });
}

/// Whether results lie apart from what they replace, on whole lines, and fill the caches together.
bool adamStreams(const Operand* weights, const Operand* results, int count, int groups) {
  constexpr uintptr_t kLine = 64;
  int64_t bytes = 0;
  for (int t = 0; t < count; t++) {
    if (results[t].data == weights[t].data) return false;
    bytes += groups * flatElements(weights[t]) * int64_t(sizeof(float));
  }
  for (int r = 0; r < groups * count; r++)
    if (reinterpret_cast<uintptr_t>(results[r].data) % kLine != 0) return false;
  return bytes > kStreamedTraffic;
}

void runAdam(const OpCall& call, Context& context) {
  const auto& p = call.as<AdamParams>();
  const int count = p.count;
  const AdamStep step(p, double(*call.in[0].as<const float>()),
                      double(*call.in[1].as<const float>()), double(*call.in[2].as<const float>()));
  const EmaStep average(p.averaged ? *call.in[3].as<const float>() : 0.0f);
  const Operand *weights = call.in + 3 + p.averaged, *grads = weights + count,
                *means = grads + count, *squares = means + count, *averages = squares + count;
  const SweepTable table(weights, count, context.scratch());
  const bool streams = adamStreams(weights, call.out, count, 3 + p.averaged);
  sweep(table, weights, context, [&](int t, int64_t first, int64_t elements, int64_t) {
    const AdamPiece at{.w = weights[t].as<const float>() + first,
                       .g = grads[t].as<const float>() + first,
                       .m = means[t].as<const float>() + first,
                       .v = squares[t].as<const float>() + first,
                       .a = p.averaged ? averages[t].as<const float>() + first : nullptr,
                       .newW = call.out[t].as<float>() + first,
                       .newM = call.out[count + t].as<float>() + first,
                       .newV = call.out[2 * count + t].as<float>() + first,
                       .newA = p.averaged ? call.out[3 * count + t].as<float>() + first : nullptr};
    if (!streams) return adamPiece<false>(step, average, at, elements);
    adamPiece<true>(step, average, at, elements);
    streamFence();
  });
}

void runEmaUpdate(const OpCall& call, Context& context) {
  const int count = call.as<EmaUpdateParams>().count;
  const EmaStep average(*call.in[0].as<const float>());
  const Operand *targets = call.in + 1, *sources = targets + count;
  const SweepTable table(targets, count, context.scratch());
  sweep(table, targets, context, [&](int t, int64_t first, int64_t elements, int64_t) {
    const float* target = targets[t].as<const float>() + first;
    const float* source = sources[t].as<const float>() + first;
    float* out = call.out[t].as<float>() + first;
    forLanes(elements, [&](int64_t i, int lanes) {
      storeLanes(out + i, average(loadLanes(target + i, lanes), loadLanes(source + i, lanes)),
                 lanes);
    });
  });
}

/// Σ x² of a chunk: f32 in short runs of lanes, f64 above.
double chunkSquares(const float* x, int64_t elements) {
  constexpr int64_t kRun = 2048;
  constexpr int kVectors = 4;
  double total = 0;
  for (int64_t first = 0; first < elements; first += kRun) {
    const int64_t last = smaller(elements, first + kRun);
    F32 sum[kVectors];
    for (F32& s : sum) s = F32::zero();
    int64_t i = first;
    for (; i + kVectors * kLanes <= last; i += kVectors * kLanes) {
      for (int v = 0; v < kVectors; v++) {
        const F32 value = F32::load(x + i + v * kLanes);
        sum[v] = mulAdd(value, value, sum[v]);
      }
    }
    for (; i < last; i += kLanes) {
      const F32 value = loadLanes(x + i, int(smaller(kLanes, last - i)));
      sum[0] = mulAdd(value, value, sum[0]);
    }
    const F32 all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    total += reduceAdd(widenLow(all) + widenHigh(all));
  }
  return total;
}

void runSumSquares(const OpCall& call, Context& context) {
  const SweepTable table(call.in, call.inCount, context.scratch());
  double* partial = reinterpret_cast<double*>(context.scratch() + SweepTable::bytes(call.inCount));
  sweep(table, call.in, context, [&](int t, int64_t first, int64_t elements, int64_t chunk) {
    partial[chunk] = chunkSquares(call.in[t].as<const float>() + first, elements);
  });
  double total = 0;
  for (int64_t chunk = 0; chunk < table.chunks(); chunk++) total += partial[chunk];
  *call.out[0].as<float>() = float(total);
}

size_t adamScratch(const OpCall& call, int) {
  return SweepTable::bytes(call.as<AdamParams>().count);
}
size_t emaScratch(const OpCall& call, int) {
  return SweepTable::bytes(call.as<EmaUpdateParams>().count);
}
size_t sumSquaresScratch(const OpCall& call, int) {
  int64_t chunks = 0;
  for (int t = 0; t < call.inCount; t++)
    chunks += ceilDivide(flatElements(call.in[t]), kSweepChunk);
  return SweepTable::bytes(call.inCount) + size_t(chunks) * sizeof(double);
}
int supportsSumSquares(const OpCall& call) {
  return call.out[0].format == Format::f32 ? kVariantPreference : -1;
}

constexpr Variant adamVariant{"adam", kVariantName, kVariantIsa, supportsF32, adamScratch, runAdam};
const RegisterVariant adamVariantRegistrar{adamVariant};
constexpr Variant emaVariant{"emaUpdate", kVariantName, kVariantIsa,
                             supportsF32, emaScratch,   runEmaUpdate};
const RegisterVariant emaVariantRegistrar{emaVariant};
constexpr Variant sumSquaresVariant{"sumSquares",       kVariantName,      kVariantIsa,
                                    supportsSumSquares, sumSquaresScratch, runSumSquares};
const RegisterVariant sumSquaresVariantRegistrar{sumSquaresVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
