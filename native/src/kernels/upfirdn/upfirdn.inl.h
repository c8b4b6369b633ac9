// upfirdn2d, vectorised: upsampling, padding, filtering and downsampling in one pass, so that no
// zero is stored or multiplied. Where the channels fill a vector they are the lanes, and only the
// taps that meet an element are visited. With fewer channels a row of the result is made of
// neighbouring floats: the image rows that it needs are spread out with their zeros in scratch
// memory, filtered at every position, and every down-th pixel kept.
#pragma once

#include "../norm/isa_variant.h"
#include "../params/upfirdn2d.generated.h"
#include "taps.h"

namespace figment::FIGMENT_ISA {
namespace {

using upfirdn::Axis;
using upfirdn::horizontalAxis;
using upfirdn::Taps;
using upfirdn::verticalAxis;

/// Rows of the result that make up about this many bytes go to a worker at once.
constexpr int64_t kUpfirdnGrainBytes = 1 << 15;
/// Spread rows stay within this for each worker.
constexpr double kMaxSpreadBytes = 4e6;

struct UpfirdnCall {
  const Upfirdn2dParams& p;
  Axis vertical, horizontal;
  explicit UpfirdnCall(const Upfirdn2dParams& params)
      : p(params), vertical(verticalAxis(params)), horizontal(horizontalAxis(params)) {}

  bool channelLanes() const { return p.c >= kLanes; }
  int64_t filterFloats() const { return alignedFloats(int64_t(p.kh) * p.kw); }
  /// Positions of the filter along a row before downsampling, and pixels of a spread row.
  int64_t positions() const { return (int64_t(p.wo) - 1) * p.down[1] + 1; }
  int64_t spreadPixels() const { return positions() + p.kw - 1; }
  int64_t spreadFloats() const { return alignedFloats(spreadPixels() * p.c); }
  /// Most image rows that one row of the result reads.
  int64_t spreadRows() const { return smaller((int64_t(p.kh) - 1) / p.up[0] + 1, p.h); }
  int64_t workerFloats() const {
    if (channelLanes()) return 0;
    return spreadRows() * spreadFloats() + alignedFloats(positions() * p.c);
  }

  /// Copies the filter as it is correlated with the image.
  void orient(const float* filter, float* to) const {
    const int64_t taps = int64_t(p.kh) * p.kw;
    for (int64_t i = 0; i < taps; i++) to[i] = filter[p.flip ? i : taps - 1 - i];
  }
};

/// V vectors of channels of one pixel of the result.
template <int V>
FIGMENT_INLINE void filterPixel(const UpfirdnCall& g, const float* filter, const float* image,
                                const Taps& rows, const Taps& columns, int lanes, float* to) {
  const Upfirdn2dParams& p = g.p;
  F32 sum[V];
  for (int v = 0; v < V; v++) sum[v] = F32::zero();
  for (int64_t i = 0; i < rows.count; i++) {
    const float* taps = filter + (rows.first + i * p.up[0]) * p.kw + columns.first;
    const float* from = image + ((rows.at + i) * p.w + columns.at) * p.c;
    for (int64_t j = 0; j < columns.count; j++) {
      const F32 weight = F32::broadcast(taps[j * p.up[1]]);
      for (int v = 0; v < V; v++)
        sum[v] = mulAdd(weight, loadLanes(from + j * p.c + v * kLanes, lanes), sum[v]);
    }
  }
  for (int v = 0; v < V; v++) storeLanes(to + v * kLanes, sum[v], lanes);
}

/// A row of the result with the channels as lanes.
void filterRow(const UpfirdnCall& g, const float* filter, const float* image, const Taps& rows,
               float* out) {
  constexpr int kBlock = 4;
  const int64_t channels = g.p.c;
  for (int64_t x = 0; x < g.p.wo; x++, out += channels) {
    const Taps columns = g.horizontal.of(x);
    int64_t c = 0;
    for (; c + kBlock * kLanes <= channels; c += kBlock * kLanes)
      filterPixel<kBlock>(g, filter, image + c, rows, columns, kLanes, out + c);
    for (; c + kLanes <= channels; c += kLanes)
      filterPixel<1>(g, filter, image + c, rows, columns, kLanes, out + c);
    if (c < channels)
      filterPixel<1>(g, filter, image + c, rows, columns, int(channels - c), out + c);
  }
}

/// An image row with its zeros and its padding.
void spreadRow(const UpfirdnCall& g, const float* row, float* to) {
  const int64_t channels = g.p.c, pixels = g.spreadPixels();
  forLanes(pixels * channels,
           [&](int64_t i, int lanes) { storeLanes(to + i, F32::zero(), lanes); });
  const int64_t up = g.p.up[1], origin = g.p.padLo[1];
  int64_t x = origin < 0 ? (-origin + up - 1) / up : 0;
  for (; x < g.p.w && x * up + origin < pixels; x++)
    for (int64_t c = 0; c < channels; c++)
      to[(x * up + origin) * channels + c] = row[x * channels + c];
}

/// A row of the result by neighbouring floats.
void filterSpread(const UpfirdnCall& g, const float* filter, const float* image, const Taps& rows,
                  float* scratch, float* out) {
  const Upfirdn2dParams& p = g.p;
  const int64_t channels = p.c, spread = g.spreadFloats();
  for (int64_t i = 0; i < rows.count; i++)
    spreadRow(g, image + (rows.at + i) * p.w * channels, scratch + i * spread);
  float* all = p.down[1] == 1 ? out : scratch + g.spreadRows() * spread;
  forLanes(g.positions() * channels, [&](int64_t at, int lanes) {
    F32 sum = F32::zero();
    for (int64_t i = 0; i < rows.count; i++) {
      const float* taps = filter + (rows.first + i * p.up[0]) * p.kw;
      const float* from = scratch + i * spread + at;
      for (int64_t k = 0; k < p.kw; k++)
        sum = mulAdd(F32::broadcast(taps[k]), loadLanes(from + k * channels, lanes), sum);
    }
    storeLanes(all + at, sum, lanes);
  });
  if (p.down[1] == 1) return;
  for (int64_t x = 0; x < p.wo; x++)
    for (int64_t c = 0; c < channels; c++)
      out[x * channels + c] = all[x * p.down[1] * channels + c];
}

size_t upfirdnScratch(const OpCall& call, int threads) {
  if (call.out[0].empty()) return 0;
  const UpfirdnCall g(call.as<Upfirdn2dParams>());
  return size_t(g.filterFloats() + threads * g.workerFloats()) * sizeof(float);
}

void runUpfirdn(const OpCall& call, Context& context) {
  if (call.out[0].empty()) return;
  const UpfirdnCall g(call.as<Upfirdn2dParams>());
  const Upfirdn2dParams& p = g.p;
  float* filter = reinterpret_cast<float*>(context.scratch());
  float* arena = filter + g.filterFloats();
  g.orient(call.in[1].as<const float>(), filter);
  const int64_t image = int64_t(p.h) * p.w * p.c, row = int64_t(p.wo) * p.c;
  context.parallelFor(int64_t(p.n) * p.ho, kUpfirdnGrainBytes / (row * 4) + 1,
                      [&](int64_t begin, int64_t end, int worker) {
                        for (int64_t r = begin; r < end; r++) {
                          const float* x = call.in[0].as<const float>() + r / p.ho * image;
                          float* y = call.out[0].as<float>() + r * row;
                          const Taps rows = g.vertical.of(r % p.ho);
                          g.channelLanes() ? filterRow(g, filter, x, rows, y)
                                           : filterSpread(g, filter, x, rows,
                                                          arena + worker * g.workerFloats(), y);
                        }
                      });
}

int supportsUpfirdn(const OpCall& call) {
  const auto& p = call.as<Upfirdn2dParams>();
  if (call.out[0].format != Format::f32) return -1;
  if (p.c >= kLanes) return kVariantPreference;
  // Nothing here is bounded by memory yet, hence floating point.
  const double pixels = double(p.wo) * p.down[1] + p.kw;
  const double rows = double(p.kh) / p.up[0] + 2;
  return pixels * rows * p.c * 4 <= kMaxSpreadBytes ? kVariantPreference : -1;
}

constexpr Variant upfirdnVariant{"upfirdn2d",     kVariantName,   kVariantIsa,
                                 supportsUpfirdn, upfirdnScratch, runUpfirdn};
const RegisterVariant upfirdnRegistrar{upfirdnVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
