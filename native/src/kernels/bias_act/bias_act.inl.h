// biasAct and its derivative, vectorised over channels: pixels are folded into rows that fill
// registers however few the channels are (norm/group_layout.h). dbias adds the columns of chunks,
// of segments and of a row's pixels in this order, which follows from the shape.
#pragma once

#include "../norm/group_layout.h"
#include "../params/biasAct.generated.h"
#include "../params/biasActGrad.generated.h"
#include "activation.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

struct BiasActScalars {
  F32 slope, gain, limit;
  bool clamped;
  template <class Params>
  FIGMENT_INLINE explicit BiasActScalars(const Params& p)
      : slope(F32::broadcast(float(p.slope))),
        gain(F32::broadcast(float(p.gain))),
        limit(F32::broadcast(float(p.limit))),
        clamped(p.clamped != 0) {}
};

/// The bias, once for each pixel of a row.
FIGMENT_INLINE void foldBias(const GroupLayout& layout, const float* bias, float* columns) {
  for (int64_t i = 0; i < layout.c; i++) columns[i] = bias[i];
  repeatChannels(layout, columns);
}

template <int kActivation>
void biasActRow(const BiasActScalars& k, const float* x, const float* bias, float* y,
                int64_t columns) {
  forLanes(columns, [&](int64_t i, int lanes) {
    const F32 u = loadLanes(x + i, lanes) + loadLanes(bias + i, lanes);
    F32 value = activated<kActivation>(u, k.slope) * k.gain;
    if (k.clamped) value = maximum(minimum(value, k.limit), -k.limit);
    storeLanes(y + i, value, lanes);
  });
}

template <int kActivation>
void biasActForward(const OpCall& call, Context& context) {
  constexpr int64_t kGrainElements = 16384;
  const auto& p = call.as<BiasActParams>();
  const BiasActScalars k(p);
  const GroupLayout layout(p.rows, p.c, 1);
  const float* x = call.in[0].as<const float>();
  float* y = call.out[0].as<float>();
  float* bias = reinterpret_cast<float*>(context.scratch());
  foldBias(layout, call.in[1].as<const float>(), bias);
  const int64_t grain = larger(1, kGrainElements / larger(1, layout.columns));
  context.parallelFor(layout.rows, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; row++) {
      const int64_t at = row * layout.columns;
      biasActRow<kActivation>(k, x + at, bias, y + at, layout.columns);
    }
  });
  const int64_t at = layout.rows * layout.columns;
  biasActRow<kActivation>(k, x + at, bias, y + at, layout.tailColumns);
}

/// Operands of the derivative; bias is folded.
struct BiasActGradCall {
  BiasActScalars k;
  GroupLayout layout;
  const float *x, *bias, *dy;
  float* dx;
};

/// dx of V vectors of columns over some rows, and its column sums added to `sums`.
template <int kActivation, int V>
FIGMENT_INLINE void gradBlock(const BiasActGradCall& g, int64_t start, int64_t rows, int lanes,
                              int64_t column, float* sums) {
  F32 sum[V], bias[V];
  for (int v = 0; v < V; v++) {
    sum[v] = F32::zero();
    bias[v] = loadLanes(g.bias + column + v * kLanes, lanes);
  }
  for (int64_t r = 0; r < rows; r++) {
    for (int v = 0; v < V; v++) {
      const int64_t element = start + r * g.layout.columns + column + v * kLanes;
      const F32 u = loadLanes(g.x + element, lanes) + bias[v];
      const F32 value = activated<kActivation>(u, g.k.slope);
      F32 d = activationCotangent<kActivation>(
          u, value, loadLanes(g.dy + element, lanes) * g.k.gain, g.k.slope);
      if (g.k.clamped) d = blend(gt(abs(value * g.k.gain), g.k.limit), F32::zero(), d);
      storeLanes(g.dx + element, d, lanes);
      sum[v] += d;
    }
  }
  for (int v = 0; v < V; v++) {
    float* at = sums + column + v * kLanes;
    storeLanes(at, loadLanes(at, lanes) + sum[v], lanes);
  }
}

template <int kActivation>
void gradChunk(const BiasActGradCall& g, int64_t start, int64_t rows, int64_t columns,
               float* sums) {
  constexpr int kBlock = 2;
  int64_t i = 0;
  for (; i + kBlock * kLanes <= columns; i += kBlock * kLanes)
    gradBlock<kActivation, kBlock>(g, start, rows, kLanes, i, sums);
  for (; i + kLanes <= columns; i += kLanes)
    gradBlock<kActivation, 1>(g, start, rows, kLanes, i, sums);
  if (i < columns) gradBlock<kActivation, 1>(g, start, rows, int(columns - i), i, sums);
}

template <int kActivation>
void biasActBackward(const OpCall& call, Context& context) {
  const auto& p = call.as<BiasActGradParams>();
  const GroupLayout layout(p.rows, p.c, 1);
  const int64_t floats = layout.columnFloats();
  float* bias = reinterpret_cast<float*>(context.scratch());
  float* sums = bias + floats;
  foldBias(layout, call.in[1].as<const float>(), bias);
  const BiasActGradCall g{BiasActScalars(p),
                          layout,
                          call.in[0].as<const float>(),
                          bias,
                          call.in[2].as<const float>(),
                          call.out[0].as<float>()};
  context.parallelFor(layout.segments, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t segment = begin; segment < end; segment++) {
      float* own = sums + segment * floats;
      forLanes(floats, [&](int64_t i, int lanes) { storeLanes(own + i, F32::zero(), lanes); });
      const int64_t last = layout.segmentEnd(segment);
      for (int64_t row = layout.segmentBegin(segment); row < last; row += layout.chunkRows)
        gradChunk<kActivation>(g, row * layout.columns, smaller(layout.chunkRows, last - row),
                               layout.columns, own);
      if (segment + 1 == layout.segments)
        gradChunk<kActivation>(g, layout.rows * layout.columns, 1, layout.tailColumns, own);
    }
  });
  float* dbias = call.out[1].as<float>();
  for (int64_t ch = 0; ch < layout.c; ch++) {
    double total = 0;
    for (int64_t segment = 0; segment < layout.segments; segment++)
      for (int64_t column = ch; column < layout.columns; column += layout.c)
        total += double(sums[segment * floats + column]);
    dbias[ch] = float(total);
  }
}

using Run = void (*)(const OpCall&, Context&);
constexpr Run kForwards[] = {
    biasActForward<kLinearAct>,  biasActForward<kReluAct>, biasActForward<kLeakyReluAct>,
    biasActForward<kSiluAct>,    biasActForward<kGeluAct>, biasActForward<kTanhAct>,
    biasActForward<kSigmoidAct>,
};
constexpr Run kBackwards[] = {
    biasActBackward<kLinearAct>,  biasActBackward<kReluAct>, biasActBackward<kLeakyReluAct>,
    biasActBackward<kSiluAct>,    biasActBackward<kGeluAct>, biasActBackward<kTanhAct>,
    biasActBackward<kSigmoidAct>,
};
static_assert(sizeof(kForwards) == sizeof(Run) * (kLastBiasActivation + 1));
static_assert(sizeof(kBackwards) == sizeof(kForwards));

void runBiasAct(const OpCall& call, Context& context) {
  kForwards[call.as<BiasActParams>().activation](call, context);
}
void runBiasActGrad(const OpCall& call, Context& context) {
  kBackwards[call.as<BiasActGradParams>().activation](call, context);
}

size_t biasActScratch(const OpCall& call, int) {
  const auto& p = call.as<BiasActParams>();
  return size_t(GroupLayout(p.rows, p.c, 1).columnFloats()) * sizeof(float);
}
size_t biasActGradScratch(const OpCall& call, int) {
  const auto& p = call.as<BiasActGradParams>();
  const GroupLayout layout(p.rows, p.c, 1);
  return size_t((1 + layout.segments) * layout.columnFloats()) * sizeof(float);
}

constexpr Variant biasActVariant{"biasAct",   kVariantName,   kVariantIsa,
                                 supportsF32, biasActScratch, runBiasAct};
const RegisterVariant biasActVariantRegistrar{biasActVariant};
constexpr Variant biasActGradVariant{"biasActGrad", kVariantName,       kVariantIsa,
                                     supportsF32,   biasActGradScratch, runBiasActGrad};
const RegisterVariant biasActGradVariantRegistrar{biasActGradVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
