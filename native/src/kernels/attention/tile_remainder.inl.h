// The last numbers of a head in scores of f32 on matrix tiles. A step of K multiplies 32 numbers;
// up to eight that are left fill it with their parts side by side, so that one step makes four of
// the six products of parts: of 40 numbers a head 8 steps instead of 12. (Two of up to sixteen
// gained nothing.) Include only from files compiled for one instruction set.
#pragma once

#include "tile_parts.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// How the parts of up to kMost numbers lie side by side: slots of pairs of numbers i and i +
/// kWords, a slot for each product of parts.
struct Remainder {
  using Products = Terms<3>;
  static constexpr int64_t kMost = 8;
  static constexpr int64_t kWords = kMost / 2, kSlots = kSide / kWords;
  static constexpr int64_t kSteps = ceilDiv(Products::kCount, kSlots);

  /// Whether it takes the `numbers` from number `first` of a head on: not all of them, since it
  /// rounds once more, and a single number's product comes out exact otherwise.
  static constexpr bool takes(int64_t first, int64_t numbers) {
    return first > 0 && numbers <= kMost;
  }

  /// Packs rows, or columns, of a block.
  static void splitRows(uint16_t* to, int64_t stepSize, const FloatBlock& from) {
    int32_t part[kSteps][kSide];
    for (int64_t step = 0; step < kSteps; step++)
      for (int64_t word = 0; word < kSide; word++) {
        const int64_t i = step * kSlots + word / kWords;
        part[step][word] = i < Products::kCount ? Products::kA[i] : kNone;
      }
    for (int64_t i = 0; i < kBlock; i++) {
      alignas(kRowBytes) float low[kSide], high[kSide];
      for (int64_t word = 0; word < kSide; word++) {
        low[word] = from.row[i][word % kWords];
        high[word] = from.row[i][kWords + word % kWords];
      }
      for (int64_t j = 0; j < kSide; j += kLanes) {
        const PartBits<3> first(F32::load(low + j)), second(F32::load(high + j));
        for (int64_t step = 0; step < kSteps; step++) {
          const I32 which = I32::load(part[step] + j);
          const I32 pairs = upperHalves(choose(which, first), choose(which, second));
          __builtin_memcpy(to + step * stepSize + i * kTileDepth + 2 * j, &pairs, sizeof pairs);
        }
      }
    }
  }
  static void splitColumns(uint16_t* to, int64_t stepSize, const FloatBlock& from) {
    for (int64_t step = 0; step < kSteps; step++) zeroPacked(to + step * stepSize, kPair);
    for (int64_t word = 0; word < kWords; word++) {
      for (int64_t j = 0; j < kBlock; j += kLanes) {
        const PartBits<3> low(F32::load(from.row[word] + j));
        const PartBits<3> high(F32::load(from.row[kWords + word] + j));
        for (int64_t i = 0; i < Products::kCount; i++) {
          const int part = Products::kB[i];
          const I32 pairs = upperHalves(low.bits[part], high.bits[part]);
          const int64_t line = i % kSlots * kWords + word;
          __builtin_memcpy(
              to + i / kSlots * stepSize + j / kSide * kTile + line * kTileDepth + j % kSide * 2,
              &pairs, sizeof pairs);
        }
      }
    }
  }

 private:
  static constexpr int32_t kNone = -1;
  /// In each lane the bits of one of the parts.
  static FIGMENT_INLINE I32 choose(I32 which, const PartBits<3>& parts) {
    I32 bits = I32::zero();
    for (int part = 0; part < 3; part++)
      bits = blend(eq(which, I32::broadcast(part)), parts.bits[part], bits);
    return bits;
  }
};

}  // namespace figment::FIGMENT_ISA::tiles
