// Draws by inversion: weights exp(logit − highest) in f32, their running sums in f64 at the end of
// each chunk of 256, and for each draw the first place where the sum passes u times the total, u of
// 53 random bits. Sixteen sums run side by side in every chunk whatever the lanes, and the
// exponential is the same polynomial everywhere, so all instruction sets draw the same places.
#pragma once

#include "../norm/isa_variant.h"
#include "../params/randomCategorical.generated.h"
#include "../simd/math.h"
#include "../softmax/row.inl.h"
#include "draw.h"

namespace figment::FIGMENT_ISA {
namespace {

using namespace categorical;

constexpr int kVectors = kSums / kLanes;
static_assert(kVectors * kLanes == kSums && kChunk % kSums == 0);

/// The largest logit, NaN where there is one.
float highestOf(const float* x, int64_t cols) {
  F32 highest = F32::broadcast(kLowest);
  forLanes(cols, [&](int64_t i, int lanes) {
    highest = maximum(highest, loadFilled(x + i, lanes, kLowest));
  });
  float lane[kLanes];
  highest.store(lane);
  float result = lane[0];
  for (int k = 1; k < kLanes; k++)
    if (result == result && !(lane[k] <= result)) result = lane[k];
  return result;
}

FIGMENT_INLINE F32 weightsAt(const float* x, int64_t count, F32 highest) {
  const int lanes = int(count < 0 ? 0 : smaller(kLanes, count));
  return exp(loadFilled(x, lanes, kLowest) - highest);
}

/// Lanes past the end add exp(−∞ − highest) = 0; where highest is not finite all sums are NaN.
double sumOfChunk(const float* x, int64_t count, F32 highest) {
  F64 low[kVectors], high[kVectors];
  for (int k = 0; k < kVectors; k++) low[k] = high[k] = F64::zero();
  for (int64_t i = 0; i < count; i += kSums) {
    for (int k = 0; k < kVectors; k++) {
      const F32 weights = weightsAt(x + i + k * kLanes, count - i - k * kLanes, highest);
      low[k] += widenLow(weights);
      high[k] += widenHigh(weights);
    }
  }
  double sums[kSums];
  for (int k = 0; k < kVectors; k++) {
    low[k].store(sums + k * kLanes);
    high[k].store(sums + k * kLanes + kLanes / 2);
  }
  return foldSums(sums);
}

void runCategorical(const OpCall& call, Context& context) {
  const auto& p = call.as<RandomCategoricalParams>();
  const Stream stream = Stream::fromState(call.in[1].as<int32_t>());
  const float* logits = call.in[0].as<float>();
  int32_t* out = call.out[0].as<int32_t>();
  const int64_t chunks = chunksOf(p);
  double* running = reinterpret_cast<double*>(context.scratch());
  float* highest = reinterpret_cast<float*>(running + p.rows * chunks);
  context.parallelFor(p.rows, rowGrain(p.cols), [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      const float* row = logits + r * p.cols;
      highest[r] = highestOf(row, p.cols);
      double sum = 0;
      for (int64_t c = 0; c < chunks; c++) {
        const int64_t first = c * kChunk;
        sum += sumOfChunk(row + first, smaller(kChunk, p.cols - first), F32::broadcast(highest[r]));
        running[r * chunks + c] = sum;
      }
    }
  });
  const bool valid = rowsHaveDistributions(context, running, p.rows, chunks);
  constexpr int64_t kGrain = 32;  // draws
  context.parallelFor(p.draws * p.rows, kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t e = begin; e < end; e++) {
      const int64_t r = e % p.rows;
      const double* own = running + r * chunks;
      const double target = uniform53(wideWord(stream, e)) * own[chunks - 1];
      const auto weightsOf = [&](int64_t chunk, float* weights) {
        const int64_t first = chunk * kChunk;
        const int64_t count = smaller(kChunk, p.cols - first);
        const float* x = logits + r * p.cols + first;
        for (int64_t i = 0; i < count; i += kLanes)
          weightsAt(x + i, count - i, F32::broadcast(highest[r])).store(weights + i);
        return count;
      };
      out[e] = valid ? int32_t(placeOf(own, chunks, target, weightsOf)) : 0;
    }
  });
  stream.advance(2 * p.draws * p.rows, call.out[1].as<int32_t>());
}

size_t runningBytes(const OpCall& call, int) {
  const auto& p = call.as<RandomCategoricalParams>();
  return size_t(p.rows * chunksOf(p)) * sizeof(double) + size_t(p.rows) * sizeof(float);
}

constexpr Variant categoricalVariant{
    "randomCategorical", FIGMENT_TEXT(FIGMENT_ISA) "-inversion",
    kVariantIsa,         [](const OpCall&) { return kVariantPreference; },
    runningBytes,        runCategorical};
const RegisterVariant categoricalRegistrar{categoricalVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
