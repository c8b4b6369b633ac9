// Bilinear resizing and its transpose, vectorised. Forward, the two source rows of an output row
// are blended first, then columns. The transpose gathers: for an input row the output rows that
// read it are summed with their weights, then likewise columns, so each element has one writer and
// a fixed order.
#pragma once

#include "../norm/isa_variant.h"
#include "../params/resizeBilinear.generated.h"
#include "../params/resizeBilinearGrad.generated.h"
#include "tap.h"

namespace figment::FIGMENT_ISA {
namespace {

using bilinear::bilinearTap;
using bilinear::Tap;

/// Image rows that make up about this many bytes go to a worker at once.
constexpr int64_t kBilinearGrainBytes = 1 << 16;

/// The taps of every output position along one axis, for the inner loops.
struct TapTable {
  int32_t *at, *next;
  float* weight;
  static size_t bytes(int64_t count) { return size_t(alignedFloats(count)) * 3 * sizeof(float); }
  TapTable(std::byte* memory, int64_t count)
      : at(reinterpret_cast<int32_t*>(memory)),
        next(at + alignedFloats(count)),
        weight(reinterpret_cast<float*>(next + alignedFloats(count))) {}
};

/// Scales `from` by a and adds it to `to`, or sets `to` where `fresh`.
void accumulateRow(float* to, const float* from, float a, int64_t count, bool fresh) {
  const F32 scale = F32::broadcast(a);
  if (fresh) {
    forLanes(count, [&](int64_t i, int lanes) {
      storeLanes(to + i, scale * loadLanes(from + i, lanes), lanes);
    });
    return;
  }
  forLanes(count, [&](int64_t i, int lanes) {
    storeLanes(to + i, mulAdd(scale, loadLanes(from + i, lanes), loadLanes(to + i, lanes)), lanes);
  });
}

void zeroRow(float* to, int64_t count) {
  forLanes(count, [&](int64_t i, int lanes) { storeLanes(to + i, F32::zero(), lanes); });
}

struct BilinearCall {
  int64_t n, h, w, c, ho, wo;
  bool align;
  template <class P>
  explicit BilinearCall(const P& p)
      : n(p.n), h(p.h), w(p.w), c(p.c), ho(p.ho), wo(p.wo), align(p.alignCorners != 0) {}

  /// Few channels are resized element by element of a row, through a table with an entry for each.
  bool byElement() const { return c < kLanes; }
  int64_t forwardEntries() const { return byElement() ? wo * c : wo; }

  void fillForward(TapTable& table) const {
    const int64_t repeat = byElement() ? c : 1;
    for (int64_t x = 0; x < wo; x++) {
      const Tap tap = bilinearTap(x, w, wo, align);
      for (int64_t k = 0; k < repeat; k++) {
        const int64_t i = x * repeat + k;
        table.at[i] = int32_t(tap.at * repeat + k);
        table.next[i] = int32_t(tap.next * repeat + k);
        table.weight[i] = float(tap.weight);
      }
    }
  }

  void forwardRow(const float* row, const TapTable& table, float* out) const {
    const F32 one = F32::broadcast(1.0f);
    if (byElement()) {
      forLanes(wo * c, [&](int64_t i, int lanes) {
        const F32 b = loadLanes(table.weight + i, lanes);
        const I32 at = I32::loadPartial(table.at + i, lanes);
        const I32 next = I32::loadPartial(table.next + i, lanes);
        storeLanes(out + i, mulAdd(gather(row, next), b, gather(row, at) * (one - b)), lanes);
      });
      return;
    }
    for (int64_t x = 0; x < wo; x++) {
      const F32 b = F32::broadcast(table.weight[x]), a = one - b;
      const float* at = row + table.at[x] * c;
      const float* next = row + table.next[x] * c;
      forLanes(c, [&](int64_t i, int lanes) {
        storeLanes(out + x * c + i,
                   mulAdd(loadLanes(next + i, lanes), b, loadLanes(at + i, lanes) * a), lanes);
      });
    }
  }
};

size_t bilinearScratch(const OpCall& call, int threads) {
  if (call.out[0].empty()) return 0;
  const BilinearCall g(call.as<ResizeBilinearParams>());
  return TapTable::bytes(g.forwardEntries()) +
         size_t(threads) * size_t(alignedFloats(g.w * g.c)) * sizeof(float);
}

void runBilinear(const OpCall& call, Context& context) {
  if (call.out[0].empty()) return;
  const BilinearCall g(call.as<ResizeBilinearParams>());
  TapTable table(context.scratch(), g.forwardEntries());
  g.fillForward(table);
  float* rows = reinterpret_cast<float*>(context.scratch() + TapTable::bytes(g.forwardEntries()));
  const int64_t inRow = g.w * g.c, outRow = g.wo * g.c;
  const int64_t grain = kBilinearGrainBytes / ((inRow + outRow) * 4) + 1;
  context.parallelFor(g.n * g.ho, grain, [&](int64_t begin, int64_t end, int worker) {
    float* blended = rows + worker * alignedFloats(inRow);
    for (int64_t r = begin; r < end; r++) {
      const float* image = call.in[0].as<const float>() + r / g.ho * g.h * inRow;
      const Tap tap = bilinearTap(r % g.ho, g.h, g.ho, g.align);
      const float b = float(tap.weight);
      accumulateRow(blended, image + tap.at * inRow, 1.0f - b, inRow, true);
      accumulateRow(blended, image + tap.next * inRow, b, inRow, false);
      g.forwardRow(blended, table, call.out[0].as<float>() + r * outRow);
    }
  });
}

/// For each input position the outputs that read it: those whose first tap is it or the one before.
struct ReaderTable {
  TapTable taps;
  int32_t* first;  ///< [in + 1]: the first output whose tap is at or after a position
  static size_t bytes(int64_t in, int64_t out) {
    return TapTable::bytes(out) + size_t(alignedFloats(in + 1)) * sizeof(int32_t);
  }
  ReaderTable(std::byte* memory, int64_t in, int64_t out, bool align)
      : taps(memory, out), first(reinterpret_cast<int32_t*>(memory + TapTable::bytes(out))) {
    int64_t position = 0;
    for (int64_t i = 0; i < out; i++) {
      const Tap tap = bilinearTap(i, in, out, align);
      taps.at[i] = int32_t(tap.at);
      taps.next[i] = int32_t(tap.next);
      taps.weight[i] = float(tap.weight);
      while (position <= tap.at) first[position++] = int32_t(i);
    }
    while (position <= in) first[position++] = int32_t(out);
  }
  int64_t begin(int64_t i) const { return first[i > 0 ? i - 1 : 0]; }
  int64_t end(int64_t i) const { return first[i + 1]; }
  /// The weight of input i in output o.
  float weight(int64_t i, int64_t o) const {
    const float b = taps.weight[o];
    return (taps.at[o] == i ? 1.0f - b : 0.0f) + (taps.next[o] == i ? b : 0.0f);
  }
};

/// The pixel at column x of the result: the pixels of a row that read it, with their weights.
void gatherPixel(const BilinearCall& g, const ReaderTable& readers, int64_t x, const float* row,
                 float* out) {
  constexpr int kBlock = 4;
  const int64_t first = readers.begin(x), last = readers.end(x);
  const auto block = [&](auto vectors, int64_t at, int lanes) {
    constexpr int kVectors = decltype(vectors)::value;
    F32 sum[kVectors];
    for (int v = 0; v < kVectors; v++) sum[v] = F32::zero();
    for (int64_t o = first; o < last; o++) {
      const F32 weight = F32::broadcast(readers.weight(x, o));
      const float* from = row + o * g.c + at;
      for (int v = 0; v < kVectors; v++)
        sum[v] = mulAdd(weight, loadLanes(from + v * kLanes, lanes), sum[v]);
    }
    for (int v = 0; v < kVectors; v++) storeLanes(out + at + v * kLanes, sum[v], lanes);
  };
  int64_t at = 0;
  for (; at + kBlock * kLanes <= g.c; at += kBlock * kLanes)
    block(std::integral_constant<int, kBlock>(), at, kLanes);
  forLanes(g.c - at,
           [&](int64_t i, int lanes) { block(std::integral_constant<int, 1>(), at + i, lanes); });
}

size_t bilinearGradScratch(const OpCall& call, int threads) {
  if (call.out[0].empty() || call.in[0].empty()) return 0;
  const BilinearCall g(call.as<ResizeBilinearGradParams>());
  return ReaderTable::bytes(g.h, g.ho) + ReaderTable::bytes(g.w, g.wo) +
         size_t(threads) * size_t(alignedFloats(g.wo * g.c)) * sizeof(float);
}

void runBilinearGrad(const OpCall& call, Context& context) {
  if (call.out[0].empty()) return;
  float* out = call.out[0].as<float>();
  if (call.in[0].empty()) {
    zeroRow(out, call.out[0].elements());
    return;
  }
  const BilinearCall g(call.as<ResizeBilinearGradParams>());
  std::byte* memory = context.scratch();
  const ReaderTable vertical(memory, g.h, g.ho, g.align);
  memory += ReaderTable::bytes(g.h, g.ho);
  const ReaderTable horizontal(memory, g.w, g.wo, g.align);
  float* rows = reinterpret_cast<float*>(memory + ReaderTable::bytes(g.w, g.wo));
  const int64_t inRow = g.wo * g.c, outRow = g.w * g.c;
  const int64_t grain = kBilinearGrainBytes / ((inRow + outRow) * 4) + 1;
  context.parallelFor(g.n * g.h, grain, [&](int64_t begin, int64_t end, int worker) {
    float* summed = rows + worker * alignedFloats(inRow);
    for (int64_t r = begin; r < end; r++) {
      const int64_t y = r % g.h;
      const float* image = call.in[0].as<const float>() + r / g.h * g.ho * inRow;
      const int64_t first = vertical.begin(y), last = vertical.end(y);
      if (first == last) zeroRow(summed, inRow);
      for (int64_t o = first; o < last; o++)
        accumulateRow(summed, image + o * inRow, vertical.weight(y, o), inRow, o == first);
      for (int64_t x = 0; x < g.w; x++)
        gatherPixel(g, horizontal, x, summed, out + r * outRow + x * g.c);
    }
  });
}

/// Tables index with 32 bits.
template <class P>
int supportsBilinear(const OpCall& call) {
  const auto& p = call.as<P>();
  const double widest = double(p.w > p.wo ? p.w : p.wo) * double(p.c);
  return call.out[0].format == Format::f32 && widest < 2147483647.0 ? kVariantPreference : -1;
}

constexpr Variant bilinearVariant{"resizeBilinear", kVariantName,
                                  kVariantIsa,      supportsBilinear<ResizeBilinearParams>,
                                  bilinearScratch,  runBilinear};
constexpr Variant bilinearGradVariant{
    "resizeBilinearGrad", kVariantName,   kVariantIsa, supportsBilinear<ResizeBilinearGradParams>,
    bilinearGradScratch,  runBilinearGrad};
const RegisterVariant bilinearRegistrar{bilinearVariant};
const RegisterVariant bilinearGradRegistrar{bilinearGradVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
