// Uniforms and standard normals from the words of philox.h, the latter by the transform of G. E. P.
// Box and M. E. Muller ("A note on the generation of random normal deviates", Ann. Math. Stat. 29,
// 1958). All instruction sets give the same bits.
//
//   const Stream stream = ...;       // a copy of one's own, which no store can change: its key
//                                    // then stays in vectors from draw to draw
//   float z[kNormals];
//   normals(stream, block, z);       // elements 4 block .. 4 block + kNormals - 1 of the stream
#pragma once

#include "../simd/math.h"
#include "../simd/streaming.h"
#include "philox.h"

namespace figment::FIGMENT_ISA {

/// Elements of one draw.
constexpr int kNormals = 4 * kBlocksPerDraw;

/// What two words of a block become.
struct Pair {
  F32 first, second;
};

/// 24 random bits as a float in [0, 1).
FIGMENT_INLINE F32 uniform(I32 word) { return toFloat(shr(word, 8)) * F32::broadcast(0x1p-24f); }
FIGMENT_INLINE Pair uniformPair(I32 first, I32 second) { return {uniform(first), uniform(second)}; }

/// Radius sqrt(-2 ln u) with u in (0, 1], at an angle of a whole number of 2^-24 turns; the cosine
/// comes first.
FIGMENT_INLINE Pair boxMuller(I32 radiusWord, I32 angleWord) {
  // 2^24 u; u itself differs in the exponent alone.
  const I32 scaled = asInt(toFloat(shr(radiusWord, 8) + I32::broadcast(1)));
  const F32 u = asFloat(scaled - I32::broadcast(24 << 23));
  const F32 radius = sqrt(scaledLogNormal<-2>(u, I32::zero()));
  const SinCos angle = sincosTurn(angleWord);
  return {radius * angle.cos, radius * angle.sin};
}

/// Elements 4 block .. 4 block + kNormals - 1 of a stream.
template <auto pairOf, bool kStream = false>
FIGMENT_INLINE void drawElements(const Stream& stream, uint64_t block, float* out) {
  const Draw draw = drawWords(stream, block, interleavedOrder());
  Pair pair[kGroups];
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; g++)
    pair[g] = pairOf(evenWords(draw.group[g]), oddWords(draw.group[g]));
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; g++) {
    const auto [first, second] = pair[g];
    storeOrStream<kStream>(interleaveLow(first, second), out + 2 * g * kLanes);
    storeOrStream<kStream>(interleaveHigh(first, second), out + (2 * g + 1) * kLanes);
  }
}
FIGMENT_INLINE void normals(const Stream& stream, uint64_t block, float* out) {
  drawElements<boxMuller>(stream, block, out);
}

}  // namespace figment::FIGMENT_ISA
