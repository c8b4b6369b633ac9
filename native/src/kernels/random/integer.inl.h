// Whole numbers from the words of several Philox blocks at a time.
#pragma once

#include "../norm/isa_variant.h"
#include "../params/randomInteger.generated.h"
#include "philox.h"

namespace figment::FIGMENT_ISA {
namespace {

/// Numbers of one draw: each takes two words.
constexpr int kNumbers = kNormals / 2;

/// The words of kBlocksPerDraw blocks in stream order.
FIGMENT_INLINE void words(const Stream& stream, uint64_t block, uint32_t* out) {
#pragma GCC unroll 2
  for (int half = 0; half < 2; half++) {
    const PhiloxWords x = philoxBlocks(stream, block + uint64_t(half * kLanes / 2));
    const Ordered ordered = inOrder(asFloat(evenWords(x)), asFloat(oddWords(x)));
    asInt(ordered.low).store(reinterpret_cast<int32_t*>(out) + 2 * half * kLanes);
    asInt(ordered.high).store(reinterpret_cast<int32_t*>(out) + (2 * half + 1) * kLanes);
  }
}

void runInteger(const OpCall& call, Context& context) {
  const auto& p = call.as<RandomIntegerParams>();
  const Stream stream = Stream::fromState(call.in[0].as<int32_t>());
  int32_t* out = call.out[0].as<int32_t>();
  const uint64_t range = uint64_t(p.hi - p.lo);
  constexpr int64_t kGrain = 16384;  // a multiple of every kNumbers
  context.parallelFor(p.count, kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; i += kNumbers) {
      uint32_t word[kNormals];
      words(stream, uint64_t(i) / 2, word);
      const int64_t count = smaller(kNumbers, end - i);
      for (int64_t k = 0; k < count; k++) {
        const uint64_t carried = uint64_t(word[2 * k + 1]) * range >> 32;
        out[i + k] = int32_t(p.lo + int64_t((uint64_t(word[2 * k]) * range + carried) >> 32));
      }
    }
  });
  stream.advance(2 * p.count, call.out[1].as<int32_t>());
}

constexpr Variant integerVariant{"randomInteger", FIGMENT_TEXT(FIGMENT_ISA) "-philox",
                                 kVariantIsa,     [](const OpCall&) { return kVariantPreference; },
                                 nullptr,         runInteger};
const RegisterVariant integerRegistrar{integerVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
