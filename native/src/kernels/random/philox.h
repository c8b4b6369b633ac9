// Philox4x32-10 (J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as
// easy as 1, 2, 3", SC 2011) and the normals drawn from it by G. E. P. Box and M. E. Muller's
// transform, over the lanes of simd/vec.h. Block b of a stream is Philox of the counter (counter +
// b) under the stream's key: four words, elements 4b .. 4b + 3. All instruction sets give the same
// bits.
//
//   const Stream stream = Stream::fromState(state);        // int32 key lo, key hi, counter lo, hi
//   float z[kNormals];
//   normals(stream, block, z);                             // elements 4 block .. 4 block +
//   kNormals - 1
//
// or, in registers: `Normals n = drawNormals(stream, block)`, whose `part[i]` are the vectors of
// those elements in order.
#pragma once

#include "../simd/math.h"
#include "stream.h"

namespace figment::FIGMENT_ISA {

/// Philox blocks computed side by side: one for each 64-bit lane of two registers.
constexpr int kBlocksPerDraw = kLanes;
/// Elements of one draw.
constexpr int kNormals = 4 * kBlocksPerDraw;

/// Four output words of kLanes / 2 blocks. Each block has a 64-bit lane; only its low half counts,
/// which spares the masking of products.
struct PhiloxWords {
  I32 x0, x1, x2, x3;
};

/// The order of the blocks among the 64-bit lanes of one register: in each group of four 32-bit
/// lanes g there are blocks g and g + kLanes / 4, so that interleaving groups later restores the
/// order.
FIGMENT_INLINE I32 blockOrder() {
  int32_t order[kLanes];
  for (int lane = 0; lane < kLanes; lane++)
    order[lane] = lane % 2 != 0 ? 0 : lane / 4 + (lane % 4 == 2 ? kLanes / 4 : 0);
  return I32::load(order);
}

/// Ten rounds applied to counters.
FIGMENT_INLINE PhiloxWords philox(PhiloxWords x, uint32_t key0, uint32_t key1) {
  const I32 m0 = I32::broadcast(int32_t(0xD2511F53u));
  const I32 m1 = I32::broadcast(int32_t(0xCD9E8D57u));
#pragma GCC unroll 10
  for (int round = 0; round < 10; round++) {
    const I32 p0 = mulWideEven(x.x0, m0);
    const I32 p1 = mulWideEven(x.x2, m1);
    x.x0 = xor3(oddToEven(p1), x.x1, I32::broadcast(int32_t(key0)));
    x.x2 = xor3(oddToEven(p0), x.x3, I32::broadcast(int32_t(key1)));
    x.x1 = p1;
    x.x3 = p0;
    key0 += 0x9E3779B9u;  // golden ratio
    key1 += 0xBB67AE85u;  // sqrt(3) - 1
  }
  return x;
}

/// The blocks [block, block + kLanes / 2) of a stream.
FIGMENT_INLINE PhiloxWords philoxBlocks(const Stream& stream, uint64_t block) {
  const uint64_t first = stream.counter + block;
  const I32 order = blockOrder();
  const uint32_t low = uint32_t(first);
  I32 lows = I32::broadcast(int32_t(low)) + order;
  I32 highs = I32::broadcast(int32_t(first >> 32));
  // The carry into the high word, once in 2^32 blocks.
  if (low > UINT32_MAX - uint32_t(kLanes / 2)) {
    const I32 flip = I32::broadcast(INT32_MIN);
    highs += toInt(lt(lows ^ flip, I32::broadcast(int32_t(low)) ^ flip));
  }
  return philox({lows, highs, I32::zero(), I32::zero()}, stream.key0, stream.key1);
}

/// Words 0 and 2 of the blocks, alternating, in every lane.
FIGMENT_INLINE I32 evenWords(const PhiloxWords& x) { return blendEvenOdd(x.x0, evenToOdd(x.x2)); }
/// Words 1 and 3.
FIGMENT_INLINE I32 oddWords(const PhiloxWords& x) { return blendEvenOdd(x.x1, evenToOdd(x.x3)); }

/// 24 random bits as a float in [0, 1).
FIGMENT_INLINE F32 uniform(I32 word) { return toFloat(shr(word, 8)) * F32::broadcast(0x1p-24f); }

/// Two vectors in stream order from the pairs (first, second) of the blocks in their lanes.
struct Ordered {
  F32 low, high;
};
FIGMENT_INLINE Ordered inOrder(F32 first, F32 second) {
  return {interleaveLow(first, second), interleaveHigh(first, second)};
}

struct NormalPair {
  F32 cos, sin;
};
/// Box-Muller: radius sqrt(-2 ln u) with u in (0, 1], angle a whole number of 2^-24 turns.
FIGMENT_INLINE NormalPair boxMuller(I32 radiusWord, I32 angleWord) {
  const F32 u = toFloat(shr(radiusWord, 8) + I32::broadcast(1)) * F32::broadcast(0x1p-24f);
  // At u = 1 the logarithm is exactly 0; its sign does not matter.
  const F32 radius = sqrt(abs(F32::broadcast(-2.0f) * logNormal(u)));
  const SinCos angle = sincosTurn24(shr(angleWord, 8));
  return {radius * angle.cos, radius * angle.sin};
}

/// kNormals standard normals, elements 4 block, 4 block + 1, ... of the stream.
struct Normals {
  F32 part[4];
};
FIGMENT_INLINE Normals drawNormals(const Stream& stream, uint64_t block) {
  Normals n;
#pragma GCC unroll 2
  for (int half = 0; half < 2; half++) {
    const PhiloxWords x = philoxBlocks(stream, block + uint64_t(half * kLanes / 2));
    const NormalPair pair = boxMuller(evenWords(x), oddWords(x));
    const Ordered ordered = inOrder(pair.cos, pair.sin);
    n.part[2 * half] = ordered.low;
    n.part[2 * half + 1] = ordered.high;
  }
  return n;
}

FIGMENT_INLINE void normals(const Stream& stream, uint64_t block, float* out) {
  const Normals n = drawNormals(stream, block);
  for (int i = 0; i < 4; i++) n.part[i].store(out + i * kLanes);
}

/// The same elements as uniforms in [0, 1).
FIGMENT_INLINE void uniforms(const Stream& stream, uint64_t block, float* out) {
#pragma GCC unroll 2
  for (int half = 0; half < 2; half++) {
    const PhiloxWords x = philoxBlocks(stream, block + uint64_t(half * kLanes / 2));
    const Ordered ordered = inOrder(uniform(evenWords(x)), uniform(oddWords(x)));
    ordered.low.store(out + 2 * half * kLanes);
    ordered.high.store(out + (2 * half + 1) * kLanes);
  }
}

}  // namespace figment::FIGMENT_ISA
