// The random stream of native/src/kernels/random, with the same bits: Philox4x32-10 (J. K. Salmon,
// M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) and
// normals by Box and Muller's transform, whose sequences of operations are the CPU's too.
#pragma once

#include "math.h"
#include "memory.h"

namespace figment::cuda {

/// Key and counter; the counter counts blocks of four words.
struct RandomStream {
  uint32_t key0, key1;
  uint64_t counter;
};

#ifdef FIGMENT_KERNELS

/// From the state i32[4]: key low, key high, counter low, counter high.
FIGMENT_DEVICE RandomStream readStream(const Global<const int32_t>& state) {
  return {uint32_t(state[0]), uint32_t(state[1]),
          uint64_t(uint32_t(state[3])) << 32 | uint32_t(state[2])};
}
/// The state after `count` elements; a begun block counts as used.
FIGMENT_DEVICE void writeAdvanced(const RandomStream& stream, int64_t count,
                                  const Global<int32_t>& state) {
  const uint64_t next = stream.counter + (uint64_t(count) + 3) / 4;
  state[0] = int32_t(stream.key0);
  state[1] = int32_t(stream.key1);
  state[2] = int32_t(uint32_t(next));
  state[3] = int32_t(uint32_t(next >> 32));
}

/// Words 4 block … 4 block + 3 of the stream.
FIGMENT_DEVICE uint4 philoxBlock(const RandomStream& stream, uint64_t block) {
  const uint64_t counter = stream.counter + block;
  uint4 x = make_uint4(uint32_t(counter), uint32_t(counter >> 32), 0, 0);
  uint32_t key0 = stream.key0, key1 = stream.key1;
  FIGMENT_UNROLL
  for (int round = 0; round < 10; round++) {
    const uint64_t p0 = uint64_t(0xD2511F53u) * x.x;
    const uint64_t p1 = uint64_t(0xCD9E8D57u) * x.z;
    x = make_uint4(uint32_t(p1 >> 32) ^ x.y ^ key0, uint32_t(p1), uint32_t(p0 >> 32) ^ x.w ^ key1,
                   uint32_t(p0));
    key0 += 0x9E3779B9u;  // golden ratio
    key1 += 0xBB67AE85u;  // sqrt(3) - 1
  }
  return x;
}

/// 64 random bits: element `index` of a stream whose elements take two words each.
FIGMENT_DEVICE uint64_t wideWord(const RandomStream& stream, int64_t index) {
  const uint4 block = philoxBlock(stream, uint64_t(index) / 2);
  return index % 2 == 0 ? uint64_t(block.x) << 32 | block.y : uint64_t(block.z) << 32 | block.w;
}

/// 24 random bits as a float in [0, 1).
FIGMENT_DEVICE float uniformOf(uint32_t word) { return float(word >> 8) * 0x1p-24f; }

/// Two standard normals: radius sqrt(-2 ln u) with u in (0, 1], at an angle of a whole number of
/// 2^-24 turns; the cosine comes first.
FIGMENT_DEVICE float2 boxMuller(uint32_t radiusWord, uint32_t angleWord) {
  const Number u = Number(float((radiusWord >> 8) + 1)) * Number(0x1p-24f);
  const Number square = abs(Number(-2.0f) * sequences::logNormal(u, Whole(0)));
  const Number radius = Number(__fsqrt_rn(square.value));
  const uint32_t turn = angleWord >> 8;
  const uint32_t quadrant = (turn + (1u << 21)) >> 22;
  const Number remainder = Number(float(int32_t(turn - (quadrant << 22))));
  const auto angle =  // of 2 pi / 2^24 for each
      sequences::sincosReduced(remainder * Number(3.7450705e-7f), Whole(int32_t(quadrant)));
  return make_float2((radius * angle.cos).value, (radius * angle.sin).value);
}

/// Elements 4 block … 4 block + 3 of the stream, as uniforms in [0, 1) and as standard normals.
FIGMENT_DEVICE float4 uniformBlock(const RandomStream& stream, uint64_t block) {
  const uint4 x = philoxBlock(stream, block);
  return make_float4(uniformOf(x.x), uniformOf(x.y), uniformOf(x.z), uniformOf(x.w));
}
FIGMENT_DEVICE float4 normalBlock(const RandomStream& stream, uint64_t block) {
  const uint4 x = philoxBlock(stream, block);
  const float2 first = boxMuller(x.x, x.y), second = boxMuller(x.z, x.w);
  return make_float4(first.x, first.y, second.x, second.y);
}

/// A whole number of [lo, lo + range) from 64 random bits w: lo + floor(w range / 2^64).
FIGMENT_DEVICE int32_t integerOf(uint64_t word, int64_t lo, uint64_t range) {
  const uint64_t carried = (word & 0xffffffffu) * range >> 32;
  return int32_t(lo + int64_t(((word >> 32) * range + carried) >> 32));
}

/// Element k of a block.
FIGMENT_DEVICE float partOf(const float4& x, int k) {
  return k == 0 ? x.x : k == 1 ? x.y : k == 2 ? x.z : x.w;
}

#endif

}  // namespace figment::cuda
