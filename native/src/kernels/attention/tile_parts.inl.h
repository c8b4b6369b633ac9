// Numbers as matrix tiles take them: bf16 as they are, f32 as sums of three bf16 numbers (see
// gemm/split.inl.h), whose products with others are as exact as those of f32 as long as no part and
// no product leaves the normal range. Weights and score gradients are rounded or split as they are
// made. Include only from files compiled for one instruction set.
#pragma once

#include "../gemm/matrix_tiles.inl.h"
#include "../softmax/exp2_floor.h"

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
template <int kParts>
FIGMENT_INLINE void storePairs(uint16_t* to, int64_t partStep, const PartBits<kParts>& low,
                               const PartBits<kParts>& high) {
  for (int part = 0; part < kParts; part++) {
    const I32 pairs = upperHalves(low.bits[part], high.bits[part]);
    __builtin_memcpy(to + part * partStep, &pairs, sizeof pairs);
  }
}

/// 2^x as exactly as its parts hold it.
template <int kParts>
FIGMENT_INLINE F32 weightPower(F32 x) {
  return kParts == 1 ? exp2ForBf16(x) : exp2ByFloor(x);
}

/// Numbers that three parts hold exactly enough: up to 2^60, and those that are summed after a
/// product with weights no smaller than 2^-60 unless they are zero.
constexpr float kMostSplit = 0x1p60f, kLeastSplit = 0x1p-60f;

/// Splits `count` rows of `d` numbers, `stride` apart, into parts: [kParts, kBlock, width]. Answers
/// whether their sizes suit, down to `least`.
template <int kParts>
inline bool splitRows(uint16_t* to, Elements from, int64_t stride, int64_t count, int64_t d,
                      int64_t width, float least) {
  Mask suits = eq(F32::zero(), F32::zero());
  for (int64_t i = 0; i < count; i++) {
    forLanes(d, [&](int64_t e, int lanes) {
      const F32 x = gemm::loadElements(from + i * stride + e, lanes), size = abs(x);
      suits = suits & le(size, F32::broadcast(kMostSplit)) &
              (ge(size, F32::broadcast(least)) | eq(size, F32::zero()));
      const PartBits<kParts> parts(x);
      for (int part = 0; part < kParts; part++)
        shr(parts.bits[part], 16).storeLow16(to + (part * kBlock + i) * width + e);
    });
  }
  return all(suits);
}

/// Whether numbers have been met that do not suit, by any worker.
class Unsuited {
 public:
  FIGMENT_INLINE void note(bool suits) {
    if (!suits) __atomic_store_n(&met_, true, __ATOMIC_RELAXED);
  }
  FIGMENT_INLINE bool met() const { return __atomic_load_n(&met_, __ATOMIC_RELAXED); }

 private:
  bool met_ = false;
};

}  // namespace figment::FIGMENT_ISA::tiles
