// Running sums of f32, kept in f64. A contiguous row is cut into segments, whose sums say where
// each starts, so that four run side by side: one sum waits for the one before, four keep the adder
// busy. Very long rows are cut into chunks first, for the workers. All cuts follow from the shape
// alone.
#pragma once

#include "../norm/isa_variant.h"
#include "../params/cumsum.generated.h"

namespace figment::FIGMENT_ISA {
namespace {

constexpr int64_t kSegment = 512;
constexpr int kAbreast = 4;
constexpr int64_t kChunk = 64 * kSegment;
constexpr int kColumnVectors = 2;

/// A row, counted from the end when reversed.
template <bool kReverse>
struct Row {
  const float* x;
  float* y;
  int64_t length;

  FIGMENT_INLINE int64_t at(int64_t i) const { return kReverse ? length - 1 - i : i; }

  /// The sum of elements [begin, end).
  FIGMENT_INLINE double sum(int64_t begin, int64_t end) const {
    const float* from = x + (kReverse ? length - end : begin);
    const int64_t count = end - begin;
    F64 low = F64::zero(), high = F64::zero();
    const int64_t whole = count - count % kLanes;
    for (int64_t i = 0; i < whole; i += kLanes) {
      const F32 v = F32::load(from + i);
      low += widenLow(v);
      high += widenHigh(v);
    }
    double total = reduceAdd(low + high);
    for (int64_t i = whole; i < count; i++) total += double(from[i]);
    return total;
  }

  template <bool kExclusive>
  FIGMENT_INLINE void step(double& sum, int64_t i) const {
    const double before = sum;
    sum += double(x[at(i)]);
    y[at(i)] = float(kExclusive ? before : sum);
  }

  /// Running sums of [begin, end), starting from `sum`.
  template <bool kExclusive>
  FIGMENT_INLINE void run(double sum, int64_t begin, int64_t end) const {
    int64_t i = begin;
    for (; i + kAbreast * kSegment <= end; i += kAbreast * kSegment) {
      double running[kAbreast];
      for (int k = 0; k < kAbreast; k++) {
        running[k] = sum;
        sum += this->sum(i + k * kSegment, i + (k + 1) * kSegment);
      }
      for (int64_t j = i; j < i + kSegment; j++)
        for (int k = 0; k < kAbreast; k++) step<kExclusive>(running[k], j + k * kSegment);
    }
    for (; i < end; i++) step<kExclusive>(sum, i);
  }
};

template <bool kReverse, bool kExclusive>
void alongRows(const OpCall& call, Context& context) {
  const auto& p = call.as<CumsumParams>();
  const auto rowOf = [&](int64_t outer) {
    return Row<kReverse>{call.in[0].as<float>() + outer * p.axis,
                         call.out[0].as<float>() + outer * p.axis, p.axis};
  };
  const int64_t chunks = ceilDivide(p.axis, kChunk);
  if (chunks == 1) {
    context.parallelFor(p.outer, larger(1, kChunk / p.axis), [&](int64_t begin, int64_t end, int) {
      int64_t o = begin;
      // Short rows run abreast as segments do.
      for (; o + kAbreast <= end && p.axis < kAbreast * kSegment; o += kAbreast) {
        double running[kAbreast] = {};
        const Row<kReverse> rows[kAbreast] = {rowOf(o), rowOf(o + 1), rowOf(o + 2), rowOf(o + 3)};
        for (int64_t i = 0; i < p.axis; i++)
          for (int k = 0; k < kAbreast; k++) rows[k].template step<kExclusive>(running[k], i);
      }
      for (; o < end; o++) rowOf(o).template run<kExclusive>(0, 0, p.axis);
    });
    return;
  }
  double* starts = reinterpret_cast<double*>(context.scratch());
  const int64_t units = p.outer * chunks;
  const auto endOf = [&](int64_t u) { return smaller((u % chunks + 1) * kChunk, p.axis); };
  context.parallelFor(units, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t u = begin; u < end; u++)
      starts[u] = rowOf(u / chunks).sum(u % chunks * kChunk, endOf(u));
  });
  for (int64_t o = 0; o < p.outer; o++) {
    double sum = 0;
    for (int64_t u = o * chunks; u < (o + 1) * chunks; u++) {
      const double here = starts[u];
      starts[u] = sum;
      sum += here;
    }
  }
  context.parallelFor(units, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t u = begin; u < end; u++)
      rowOf(u / chunks).template run<kExclusive>(starts[u], u % chunks * kChunk, endOf(u));
  });
}

/// kVectors vectors of columns, of which the last holds `lanes`.
template <bool kReverse, bool kExclusive, int kVectors>
FIGMENT_INLINE void downColumns(const float* x, float* y, int64_t axis, int64_t stride, int lanes) {
  F64 low[kVectors], high[kVectors];
  for (int k = 0; k < kVectors; k++) low[k] = high[k] = F64::zero();
  for (int64_t i = 0; i < axis; i++) {
    const int64_t at = (kReverse ? axis - 1 - i : i) * stride;
    for (int k = 0; k < kVectors; k++) {
      const int here = k == kVectors - 1 ? lanes : kLanes;
      const F32 v = loadLanes(x + at + k * kLanes, here);
      const F32 before = narrow(low[k], high[k]);
      low[k] += widenLow(v);
      high[k] += widenHigh(v);
      storeLanes(y + at + k * kLanes, kExclusive ? before : narrow(low[k], high[k]), here);
    }
  }
}

template <bool kReverse, bool kExclusive>
void acrossColumns(const OpCall& call, Context& context) {
  const auto& p = call.as<CumsumParams>();
  constexpr int64_t kBand = kColumnVectors * kLanes;
  const int64_t bands = ceilDivide(p.inner, kBand);
  const int64_t grain = kChunk / (p.axis * smaller(p.inner, kBand) + 1);
  context.parallelFor(p.outer * bands, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t u = begin; u < end; u++) {
      const int64_t first = u % bands * kBand;
      const int64_t from = u / bands * p.axis * p.inner + first;
      const float* x = call.in[0].as<float>() + from;
      float* y = call.out[0].as<float>() + from;
      const int64_t width = smaller(kBand, p.inner - first);
      if (width == kBand) {
        downColumns<kReverse, kExclusive, kColumnVectors>(x, y, p.axis, p.inner, kLanes);
        continue;
      }
      forLanes(width, [&](int64_t i, int lanes) {
        downColumns<kReverse, kExclusive, 1>(x + i, y + i, p.axis, p.inner, lanes);
      });
    }
  });
}

template <bool kReverse, bool kExclusive>
void runDirection(const OpCall& call, Context& context) {
  call.as<CumsumParams>().inner == 1 ? alongRows<kReverse, kExclusive>(call, context)
                                     : acrossColumns<kReverse, kExclusive>(call, context);
}

void runCumsum(const OpCall& call, Context& context) {
  const auto& p = call.as<CumsumParams>();
  if (call.out[0].elements() == 0) return;
  if (p.reverse != 0)
    p.exclusive != 0 ? runDirection<true, true>(call, context)
                     : runDirection<true, false>(call, context);
  else
    p.exclusive != 0 ? runDirection<false, true>(call, context)
                     : runDirection<false, false>(call, context);
}

size_t startBytes(const OpCall& call, int) {
  const auto& p = call.as<CumsumParams>();
  const int64_t chunks = ceilDivide(p.axis, kChunk);
  return p.inner == 1 && chunks > 1 ? size_t(p.outer * chunks) * sizeof(double) : 0;
}

constexpr Variant cumsumVariant{"cumsum",    kVariantName, kVariantIsa,
                                supportsF32, startBytes,   runCumsum};
const RegisterVariant cumsumRegistrar{cumsumVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
