// Numbers as matrix tiles take them: bf16 as they are, f32 as sums of three bf16 numbers (see
// gemm/split.inl.h), whose products with others are as exact as those of f32 as long as no part and
// no product leaves the normal range. Weights and score gradients are rounded or split as they are
// made. Include only from files compiled for one instruction set.
#pragma once

#include "../gemm/matrix_tiles.inl.h"
#include "../softmax/exp2_floor.h"
#include "rows.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// Bits whose upper halves are the bf16 numbers that make x, the first ones the nearest, ties away
/// from zero.
template <int kParts>
struct PartBits {
  I32 bits[kParts];

  explicit FIGMENT_INLINE PartBits(F32 x) {
    for (int part = 0; part < kParts; part++) {
      bits[part] = asInt(x) + I32::broadcast(0x8000);
      if (part + 1 < kParts) x -= asFloat(bits[part] & I32::broadcast(int32_t(0xffff0000)));
    }
  }
};

/// The same of weights and score gradients, in parts without rounding, which takes half the steps:
/// 24 bits of a number are exactly three times 8.
template <int kParts>
struct WeightBits {
  I32 bits[kParts];

  explicit FIGMENT_INLINE WeightBits(F32 x) {
    for (int part = 0; part < kParts; part++) {
      bits[part] = kParts == 1 ? asInt(x) + I32::broadcast(0x8000) : asInt(x);
      if (part + 1 < kParts) x -= asFloat(bits[part] & I32::broadcast(int32_t(0xffff0000)));
    }
  }
};

/// The upper halves of two vectors: those of `low` in the lower halves of its lanes.
FIGMENT_INLINE I32 upperHalves(I32 low, I32 high) {
#if FIGMENT_LEVEL == 2
  // One shuffle, which runs on a port that tiles leave idle; shifts do not.
  constexpr uint64_t kLowerHalves = 0x3333333333333333;
  const __m512i down = _mm512_set4_epi32(0x0f0e0f0e, 0x0b0a0b0a, 0x07060706, 0x03020302);
  return {_mm512_mask_shuffle_epi8(high.v, kLowerHalves, low.v, down)};
#else
  return shr(low, 16) | (high & I32::broadcast(int32_t(0xffff0000)));
#endif
}

/// Stores pairs of numbers, those of `low` first, part by part, `partStep` numbers apart.
template <template <int> class Bits, int kParts>
FIGMENT_INLINE void storePairs(uint16_t* to, int64_t partStep, const Bits<kParts>& low,
                               const Bits<kParts>& high) {
  for (int part = 0; part < kParts; part++) {
    const I32 pairs = upperHalves(low.bits[part], high.bits[part]);
    __builtin_memcpy(to + part * partStep, &pairs, sizeof pairs);
  }
}

/// The products of parts of both factors that make theirs: all that matter to f32. One that follows
/// another shares a factor's part with it, which stays in its tiles; the largest comes last.
template <int kParts>
struct Terms;
template <>
struct Terms<1> {
  static constexpr int kCount = 1;
  static constexpr int8_t kA[kCount] = {0}, kB[kCount] = {0};
};
template <>
struct Terms<3> {
  static constexpr int kCount = 6;
  static constexpr int8_t kA[kCount] = {2, 1, 1, 0, 0, 0}, kB[kCount] = {0, 0, 1, 1, 2, 0};
};

/// Numbers that three parts hold exactly enough: none above 2^60; and where they are summed after a
/// product with weights, of a head whose largest is 2^-56 or more, unless all are zero. Bounded
/// weights are 2^-32 or more, so that what products of parts below 2^-126 lose is less than sums of
/// f32 round away.
constexpr float kMostSplit = 0x1p60f, kLeastSplit = 0x1p-56f;
FIGMENT_INLINE bool suitsSums(double largest) { return largest == 0 || largest >= kLeastSplit; }
/// The same of products of such numbers that are summed, whose smallest parts are 2^-32 of them.
FIGMENT_INLINE bool suitsProducts(double largest) { return largest == 0 || largest >= 0x1p-80; }

/// The largest size among numbers.
class Largest {
 public:
  FIGMENT_INLINE void add(F32 x) { bits_ = max(bits_, asInt(abs(x))); }
  /// Infinite if any is not finite.
  FIGMENT_INLINE float size() const {
    constexpr float kInfinity = __builtin_inff();
    const F32 sizes = asFloat(bits_);
    return all(lt(sizes, F32::broadcast(kInfinity))) ? reduceMax(sizes) : kInfinity;
  }

 private:
  I32 bits_ = I32::zero();  // those of NaN are above infinity's
};

/// A unit of positions by kBlock numbers of d, in f32; zeros fill it.
struct FloatBlock {
  alignas(kRowBytes) float row[kBlock][kBlock];

  /// `count` rows of up to kBlock numbers, `stride` apart.
  FIGMENT_INLINE void load(Elements from, int64_t stride, int64_t count, int64_t numbers,
                           Largest& largest) {
    for (int64_t i = 0; i < count; i++, from = from + stride) {
      for (int64_t j = 0; j < kBlock; j += kLanes) {
        const int lanes = lanesBelow(numbers, j);
        const F32 x = lanes > 0 ? gemm::loadElements(from + j, lanes) : F32::zero();
        largest.add(x);
        x.store(row[i] + j);
      }
    }
    for (int64_t i = count; i < kBlock; i++)
      for (int64_t j = 0; j < kBlock; j += kLanes) F32::zero().store(row[i] + j);
  }
  FIGMENT_INLINE void turn(const FloatBlock& from) {
    for (int64_t i = 0; i < kBlock; i += kSide)
      for (int64_t j = 0; j < kBlock; j += kSide)
        transposeWords(row[i] + j, sizeof row[0], from.row[j] + i, sizeof row[0]);
  }
};

/// Splits the rows of a block into packed rows of tiles, `partStep` numbers from part to part. A
/// pair is a row's numbers j and j + 16.
template <int kParts>
inline void splitRows(uint16_t* to, int64_t partStep, const FloatBlock& from) {
  for (int64_t i = 0; i < kBlock; i++)
    for (int64_t j = 0; j < kSide; j += kLanes)
      storePairs(to + i * kTileDepth + 2 * j, partStep,
                 PartBits<kParts>(F32::load(from.row[i] + j)),
                 PartBits<kParts>(F32::load(from.row[i] + kSide + j)));
}
/// The same of its columns. A pair is a column's numbers i and i + 16.
template <int kParts>
inline void splitColumns(uint16_t* to, int64_t partStep, const FloatBlock& from) {
  for (int64_t i = 0; i < kSide; i++)
    for (int64_t j = 0; j < kBlock; j += kLanes)
      storePairs(to + j / kSide * kTile + i * kTileDepth + j % kSide * 2, partStep,
                 PartBits<kParts>(F32::load(from.row[i] + j)),
                 PartBits<kParts>(F32::load(from.row[i + kSide] + j)));
}

}  // namespace figment::FIGMENT_ISA::tiles
