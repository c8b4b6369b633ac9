// The first few of long rows of f32: a scan that compares whole vectors with the worst that is
// still wanted, and gathers what beats it until there is too much, of which the best stay.
#pragma once

#include "../norm/isa_variant.h"
#include "../params/sort.generated.h"
#include "keys.h"

namespace figment::FIGMENT_ISA {
namespace {

using sorting::keyOf;

/// Below this a sort of the whole row costs no more.
constexpr int64_t kLeastRow = 64;
/// Of a row, at most this part is selected; more is sorted.
constexpr int64_t kLeastRatio = 4;
constexpr int kScanVectors = 4;
constexpr int64_t kScan = kScanVectors * kLanes;

/// Keys that are held before the best are kept: room for a step of the scan beside as many again.
constexpr int64_t capacityOf(int64_t count) { return 2 * count + 4 * kScan; }

template <bool kDescending>
FIGMENT_INLINE bool beats(float a, float b) {
  return kDescending ? a > b : a < b;
}

/// `limit` is the worst of the wanted elements met so far. An element equal to it stands behind it,
/// so it is not wanted. While there is none, or it is NaN, everything is.
template <bool kDescending>
void selectRow(const float* x, int64_t cols, int64_t count, uint64_t* keys, float* values,
               int32_t* indices) {
  int64_t held = 0;
  float limit = 0;
  bool limited = false;
  const auto scan = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++)
      if (!limited || beats<kDescending>(x[i], limit)) keys[held++] = keyOf(x[i], i, kDescending);
    if (held + kScan <= capacityOf(count)) return;
    const uint64_t worst = sorting::keepLeast(keys, held, count);
    held = count;
    limit = x[sorting::indexOf(worst)];
    limited = limit == limit;
  };
  int64_t i = 0;
  for (; i + kScan <= cols; i += kScan) {
    if (limited) {
      const F32 bound = F32::broadcast(limit);
      Mask found = {};
      for (int k = 0; k < kScanVectors; k++) {
        const F32 v = F32::load(x + i + k * kLanes);
        const Mask here = kDescending ? gt(v, bound) : lt(v, bound);
        found = k == 0 ? here : found | here;
      }
      if (!any(found)) continue;
    }
    scan(i, i + kScan);
  }
  scan(i, cols);
  sorting::selectKeys(keys, held, count);
  sorting::writeSorted(keys, x, count, values, indices);
}

void runSelect(const OpCall& call, Context& context) {
  const auto& p = call.as<SortParams>();
  if (call.out[0].elements() == 0) return;
  const auto row = p.descending != 0 ? selectRow<true> : selectRow<false>;
  context.parallelFor(
      p.rows, larger(1, 16384 / p.cols), [&](int64_t begin, int64_t end, int worker) {
        uint64_t* keys =
            reinterpret_cast<uint64_t*>(context.scratch()) + worker * capacityOf(p.count);
        for (int64_t r = begin; r < end; r++)
          row(call.in[0].as<float>() + r * p.cols, p.cols, p.count, keys,
              call.out[0].as<float>() + r * p.count, call.out[1].as<int32_t>() + r * p.count);
      });
}

int supportsSelect(const OpCall& call) {
  const auto& p = call.as<SortParams>();
  const bool few = p.cols >= kLeastRow && p.count * kLeastRatio <= p.cols;
  return few && call.in[0].format == Format::f32 ? kVariantPreference + 5 : -1;
}

size_t keyBytes(const OpCall& call, int threads) {
  return size_t(capacityOf(call.as<SortParams>().count)) * size_t(threads) * sizeof(uint64_t);
}

constexpr Variant selectVariant{
    "sort", FIGMENT_TEXT(FIGMENT_ISA) "-select", kVariantIsa, supportsSelect, keyBytes, runSelect};
const RegisterVariant selectRegistrar{selectVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
