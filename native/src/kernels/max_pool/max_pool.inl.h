// Max pooling, taking and its transpose with the channels as lanes. A window is searched for a
// vector of channels at a time; each lane keeps the value and the tap that it came from. The
// transpose works on bands of image rows: the windows that reach into a band are searched again
// there and add only to its rows, so each element has one writer and a fixed order.
#pragma once

#include "../norm/isa_variant.h"
#include "../params/maxPool.generated.h"
#include "../params/maxPoolGrad.generated.h"
#include "../params/maxPoolTake.generated.h"
#include "../resize/geometry.h"

namespace figment::FIGMENT_ISA {
namespace {

using resize::Range;
using resize::windowInputs;
using resize::windowsOver;

/// Image rows that make up about this many bytes go to a worker at once.
constexpr int64_t kPoolGrainBytes = 1 << 16;

/// The largest element of each lane's window and where it lies: row · width + column, counted from
/// the first element of the window that is inside the image.
struct Largest {
  F32 value;
  I32 place;
};

template <class P>
struct MaxPoolCall {
  const P& p;
  explicit MaxPoolCall(const P& params) : p(params) {}

  Range rows(int64_t y) const { return windowInputs(y, p.h, p.kh, p.stride[0], p.padLo[0]); }
  Range columns(int64_t x) const { return windowInputs(x, p.w, p.kw, p.stride[1], p.padLo[1]); }

  /// Searches rows × columns of the image whose channel vector starts at `x`.
  FIGMENT_INLINE Largest search(const float* x, Range rows, Range columns, int lanes) const {
    const float* origin = x + (rows.begin * p.w + columns.begin) * p.c;
    Largest found{loadLanes(origin, lanes), I32::zero()};
    const int32_t width = int32_t(columns.end - columns.begin);
    for (int64_t y = rows.begin; y < rows.end; y++)
      for (int32_t i = 0; i < width; i++) {
        const int64_t row = y - rows.begin;
        const F32 value = loadLanes(origin + (row * p.w + i) * p.c, lanes);
        const Mask better = gt(value, found.value) | isNan(value);
        found.value = blend(better, value, found.value);
        found.place = blend(better, I32::broadcast(int32_t(row) * width + i), found.place);
      }
    return found;
  }

  /// v at the places found, of the same window of the image that starts at `v`.
  FIGMENT_INLINE F32 take(const float* v, const Largest& found, Range rows, Range columns,
                          int lanes) const {
    F32 taken = F32::zero();
    int32_t place = 0;
    for (int64_t y = rows.begin; y < rows.end; y++)
      for (int64_t x = columns.begin; x < columns.end; x++, place++)
        taken = blend(eq(found.place, I32::broadcast(place)),
                      loadLanes(v + (y * p.w + x) * p.c, lanes), taken);
    return taken;
  }

  /// Adds dy to the places found, as far as they lie in the rows of `band`.
  FIGMENT_INLINE void give(float* dx, F32 dy, const Largest& found, Range rows, Range columns,
                           Range band, int lanes) const {
    int32_t place = 0;
    for (int64_t y = rows.begin; y < rows.end; y++) {
      for (int64_t x = columns.begin; x < columns.end; x++, place++) {
        if (y < band.begin || y >= band.end) continue;
        float* to = dx + (y * p.w + x) * p.c;
        const F32 share = blend(eq(found.place, I32::broadcast(place)), dy, F32::zero());
        storeLanes(to, loadLanes(to, lanes) + share, lanes);
      }
    }
  }
};

/// maxPool, and maxPoolTake where there are values to take.
template <class P, bool values>
void runTake(const OpCall& call, Context& context) {
  if (call.out[0].empty()) return;
  const MaxPoolCall<P> g(call.as<P>());
  const P& p = g.p;
  const int64_t image = int64_t(p.h) * p.w * p.c, outRow = int64_t(p.wo) * p.c;
  const int64_t rowBytes = (image / p.ho + outRow) * 4;
  context.parallelFor(
      int64_t(p.n) * p.ho, kPoolGrainBytes / rowBytes + 1, [&](int64_t begin, int64_t end, int) {
        for (int64_t r = begin; r < end; r++) {
          const float* x = call.in[0].as<const float>() + r / p.ho * image;
          const float* v = call.in[values ? 1 : 0].as<const float>() + r / p.ho * image;
          float* y = call.out[0].as<float>() + r * outRow;
          const Range rows = g.rows(r % p.ho);
          for (int64_t i = 0; i < p.wo; i++) {
            const Range columns = g.columns(i);
            forLanes(p.c, [&](int64_t c, int lanes) {
              const Largest found = g.search(x + c, rows, columns, lanes);
              const F32 result = values ? g.take(v + c, found, rows, columns, lanes) : found.value;
              storeLanes(y + i * p.c + c, result, lanes);
            });
          }
        }
      });
}

void runMaxPoolGrad(const OpCall& call, Context& context) {
  if (call.out[0].empty()) return;
  const MaxPoolCall<MaxPoolGradParams> g(call.as<MaxPoolGradParams>());
  const auto& p = g.p;
  const int64_t row = int64_t(p.w) * p.c, image = p.h * row, outRow = int64_t(p.wo) * p.c;
  // Bands a few windows high, so that few windows are searched twice.
  const int64_t wanted = larger(kPoolGrainBytes / (row * 4) + 1, 4 * int64_t(p.kh));
  const int64_t bands = ceilDivide(p.h, wanted), height = ceilDivide(p.h, bands);
  context.parallelFor(p.n * bands, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t task = begin; task < end; task++) {
      const int64_t n = task / bands, first = task % bands * height;
      const Range band{first, smaller(first + height, p.h)};
      const float* x = call.in[0].as<const float>() + n * image;
      const float* dy = call.in[1].as<const float>() + n * p.ho * outRow;
      float* dx = call.out[0].as<float>() + n * image;
      if (band.begin >= band.end) continue;
      forLanes((band.end - band.begin) * row, [&](int64_t i, int lanes) {
        storeLanes(dx + band.begin * row + i, F32::zero(), lanes);
      });
      const int64_t from = windowsOver(band.begin, p.ho, p.kh, p.stride[0], p.padLo[0]).begin;
      const int64_t past = windowsOver(band.end - 1, p.ho, p.kh, p.stride[0], p.padLo[0]).end;
      for (int64_t y = from; y < past; y++) {
        const Range rows = g.rows(y);
        for (int64_t i = 0; i < p.wo; i++) {
          const Range columns = g.columns(i);
          forLanes(p.c, [&](int64_t c, int lanes) {
            const Largest found = g.search(x + c, rows, columns, lanes);
            const F32 share = loadLanes(dy + y * outRow + i * p.c + c, lanes);
            g.give(dx + c, share, found, rows, columns, band, lanes);
          });
        }
      }
    }
  });
}

/// Places in a window are counted with 32 bits.
template <class P>
int supportsMaxPool(const OpCall& call) {
  const P& p = call.as<P>();
  const double places = double(smaller(p.kh, p.h)) * double(smaller(p.kw, p.w));
  return call.out[0].format == Format::f32 && places < 2147483647.0 ? kVariantPreference : -1;
}

constexpr Variant maxPoolVariant{"maxPool",   kVariantName,
                                 kVariantIsa, supportsMaxPool<MaxPoolParams>,
                                 nullptr,     runTake<MaxPoolParams, false>};
constexpr Variant maxPoolTakeVariant{"maxPoolTake", kVariantName,
                                     kVariantIsa,   supportsMaxPool<MaxPoolTakeParams>,
                                     nullptr,       runTake<MaxPoolTakeParams, true>};
constexpr Variant maxPoolGradVariant{"maxPoolGrad", kVariantName,
                                     kVariantIsa,   supportsMaxPool<MaxPoolGradParams>,
                                     nullptr,       runMaxPoolGrad};
const RegisterVariant maxPoolRegistrar{maxPoolVariant};
const RegisterVariant maxPoolTakeRegistrar{maxPoolTakeVariant};
const RegisterVariant maxPoolGradRegistrar{maxPoolGradVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
