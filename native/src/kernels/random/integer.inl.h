// Whole numbers from the words of several Philox blocks at a time.
#pragma once

#include "../norm/isa_variant.h"
#include "../params/randomInteger.generated.h"
#include "philox.h"

namespace figment::FIGMENT_ISA {
namespace {

/// Numbers of one draw: each takes two words.
constexpr int kNumbers = 2 * kBlocksPerDraw;

/// floor((2^32 high + low) range / 2^64) of the even lanes, in the odd ones.
FIGMENT_INLINE I32 scaled(I32 high, I32 low, I32 range) {
  return addWide(mulWideEven(high, range), oddToEven(mulWideEven(low, range)));
}

/// The numbers of a draw in [lo, lo + range). The range of all numbers has 33 bits; it takes the
/// high word alone.
template <bool kAll>
FIGMENT_INLINE void numbers(const Stream& stream, uint64_t block, I32 lo, I32 range, int32_t* out) {
  const Draw draw = drawWords(stream, block, plainOrder());
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; g++) {
    const PhiloxWords& x = draw.group[g];
    const I32 number =
        kAll ? evenWords(x)
             : blendEvenOdd(oddToEven(scaled(x.x0, x.x1, range)), scaled(x.x2, x.x3, range));
    (lo + number).store(out + g * kLanes);
  }
}

template <bool kAll>
void fillIntegers(Stream stream, int64_t begin, int64_t end, int64_t lo, int64_t range,
                  int32_t* out) {
  const I32 base = I32::broadcast(int32_t(lo)), size = I32::broadcast(int32_t(range));
  int64_t i = begin;
  for (; i + kNumbers <= end; i += kNumbers)
    numbers<kAll>(stream, uint64_t(i) / 2, base, size, out + i);
  if (i == end) return;
  int32_t last[kNumbers];
  numbers<kAll>(stream, uint64_t(i) / 2, base, size, last);
  __builtin_memcpy(out + i, last, size_t(end - i) * sizeof(int32_t));
}

void runInteger(const OpCall& call, Context& context) {
  const auto& p = call.as<RandomIntegerParams>();
  const Stream stream = Stream::fromState(call.in[0].as<int32_t>());
  int32_t* out = call.out[0].as<int32_t>();
  const int64_t range = p.hi - p.lo;
  constexpr int64_t kGrain = 16384;  // a multiple of every kNumbers
  context.parallelFor(p.count, kGrain, [&](int64_t begin, int64_t end, int) {
    range > UINT32_MAX ? fillIntegers<true>(stream, begin, end, p.lo, range, out)
                       : fillIntegers<false>(stream, begin, end, p.lo, range, out);
  });
  stream.advance(2 * p.count, call.out[1].as<int32_t>());
}

constexpr Variant integerVariant{"randomInteger", FIGMENT_TEXT(FIGMENT_ISA) "-philox",
                                 kVariantIsa,     [](const OpCall&) { return kVariantPreference; },
                                 nullptr,         runInteger};
const RegisterVariant integerRegistrar{integerVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
