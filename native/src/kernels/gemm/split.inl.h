// f32 numbers as sums of bf16 numbers, for products of f32 on matrix tiles. Every f32 is hi + mid +
// lo without an error, each part the bf16 number nearest to what the parts before it leave (Henry,
// Tang and Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision
// Computations", 2019). Tiles take denormals for zero and split infinities are NaN, so a panel of
// 32 rows or columns and one cut of K is first multiplied by a power of two that brings its largest
// number to 2^kTop. A panel with numbers that are not finite, or then below 2^kBottom, is packed as
// it is, for fused multiply-adds. Panels of numbers that are bf16 already have one part, whatever
// their format. Include only from files compiled for one instruction set.
#pragma once

#include "kernels/gemm/matrix_tiles.inl.h"
#include "kernels/gemm/split_parts.inl.h"

namespace figment::FIGMENT_ISA::split {

using gemm::Carver;
using gemm::ceilDiv;
using gemm::Elements;
using gemm::larger;
using gemm::Results;
using gemm::smaller;
using tiles::kBlock;
using tiles::kPair;
using tiles::kSide;
using tiles::kTileDepth;

/// The cut of K that has one scale and is summed by itself, at most.
constexpr int64_t kCut = 320;
/// bf16 numbers of a packed panel of one cut, at most.
constexpr int64_t kPanel = kExactParts * kBlock * kCut;

/// Exponents of the numbers of a split panel. Sums stay below 2^(2·(kTop + 1))·kCut, and what the
/// products of two smallest numbers lose below 2^-126 is 2^-30 of them.
constexpr int kTop = 48, kBottom = -48;

/// How a panel is packed.
struct Scale {
  int32_t shift;  ///< its numbers are multiplied by 2^shift
  bool fits;      ///< else it is packed as it is
  int8_t parts;   ///< those that are not zero throughout
};

/// 2^exponent, for exponents of normal numbers.
FIGMENT_INLINE float powerOfTwo(int exponent) { return fromBits(uint32_t(exponent + 127) << 23); }

/// floor(log2 x) of a positive finite number.
inline int exponentOf(float x) {
  const uint32_t bits = toBits(x);
  return bits >= 1u << 23 ? int(bits >> 23) - 127 : 31 - __builtin_clz(bits) - 149;
}

/// The exponent of the power of two that brings a largest size to 2^kTop; its inverse is a normal
/// number too.
inline int shiftOf(float largest) {
  constexpr int kMostShift = 126;
  return int(smaller(kTop - exponentOf(largest), kMostShift));
}

/// The bf16 number nearest to x, ties away from zero; not for NaN.
FIGMENT_INLINE F32 nearestBf16(F32 x) {
  return asFloat((asInt(x) + I32::broadcast(0x8000)) & I32::broadcast(int32_t(0xffff0000)));
}

/// What numbers of a panel have in common.
class Measured {
 public:
  FIGMENT_INLINE void add(F32 x) {
    const I32 bits = asInt(x), size = bits & I32::broadcast(INT32_MAX);
    any_ = any_ | bits;
    largest_ = max(size, largest_);
    // Zeros turn into the largest of all.
    least_ = min((size - I32::broadcast(1)) & I32::broadcast(INT32_MAX), least_);
  }
  /// What brings them, of up to `parts` parts, into the range of the tiles.
  Scale scale(int parts) const {
    const bool alone = all(eq(shl(any_, 16), I32::zero()));
    const int8_t needed = int8_t(alone ? 1 : parts);
    if (any(gt(largest_, I32::broadcast(kMost)))) return {0, false, needed};
    const float top = reduceMax(asFloat(largest_));
    if (top == 0) return {0, true, needed};
    const int shift = shiftOf(top);
    const I32 one = I32::broadcast(1);
    const float bottom = reduceMin(asFloat(min(least_, I32::broadcast(kMost) - one) + one));
    return {shift, exponentOf(bottom) + shift >= kBottom, needed};
  }

 private:
  // Sizes of f32 numbers are ordered as their bits are, with NaN above all.
  static constexpr int32_t kMost = 0x7f7fffff;

  I32 largest_ = I32::zero(), least_ = I32::broadcast(kMost), any_ = I32::zero();
};

/// Copies f32 numbers, widening others, and measures them.
inline void copyMeasured(float* to, Elements from, int64_t count, Measured& measured) {
  Measured own = measured;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const F32 x = from.half() ? gemm::loadElements(from + i, kLanes) : F32::load(from.floats() + i);
    own.add(x);
    x.store(to + i);
  }
  if (i < count) {
    const F32 x = gemm::loadElements(from + i, int(count - i));
    own.add(x);
    x.storePartial(to + i, int(count - i));
  }
  measured = own;
}
inline void measure(const float* x, int64_t count, Measured& measured) {
  Measured own = measured;
  for (int64_t i = 0; i < count; i += kLanes) own.add(F32::load(x + i));
  measured = own;
}

/// Whether to store 16-bit numbers one vector behind the other, or in pairs.
enum class Lanes { behind, pairs };

/// Splits two vectors of numbers, to parts `partStep` numbers apart.
template <Lanes kLanesOf, int kParts>
FIGMENT_INLINE void splitVectors(uint16_t* to, int64_t partStep, F32 first, F32 second) {
  const I32 half = I32::broadcast(0x8000), high = I32::broadcast(int32_t(0xffff0000));
  for (int part = 0; part < kParts; part++, to += partStep) {
    // The nearest bf16 numbers, ties away from zero, and lower halves that are not theirs.
    const I32 x = asInt(first) + half, y = asInt(second) + half;
    if constexpr (kLanesOf == Lanes::behind) {
      storeHigh16(to, x, y);
    } else {
      const I32 pairs = shr(x, 16) | (y & high);
      __builtin_memcpy(to, &pairs, sizeof pairs);
    }
    first -= asFloat(x & high);
    second -= asFloat(y & high);
  }
}

/// Splits 32 rows of `blocks` blocks of K, one row after another, times `scale`.
template <int kParts>
[[gnu::noinline]] inline void splitRows(uint16_t* to, const float* raw, int64_t blocks,
                                        float scale) {
  const F32 factor = F32::broadcast(scale);
  for (int64_t row = 0; row < kBlock; row++) {
    uint16_t* line = to + tiles::rowPlace(row, 0);
    for (int64_t block = 0; block < blocks; block++, line += kPair) {
      for (int64_t k = 0; k < kTileDepth; k += 2 * kLanes, raw += 2 * kLanes)
        splitVectors<Lanes::behind, kParts>(line + k, blocks * kPair, F32::load(raw) * factor,
                                            F32::load(raw + kLanes) * factor);
    }
  }
}

/// Splits 32 columns: `raw` holds rows of K of 32 numbers.
template <int kParts>
[[gnu::noinline]] inline void splitColumns(uint16_t* to, const float* raw, int64_t blocks,
                                           float scale) {
  const F32 factor = F32::broadcast(scale);
  for (int64_t k = 0; k < blocks * kTileDepth; k += 2, raw += 2 * kBlock) {
    for (int64_t column = 0; column < kBlock; column += kLanes) {
      splitVectors<Lanes::pairs, kParts>(to + tiles::columnPlace(column, k), blocks * kPair,
                                         F32::load(raw + column) * factor,
                                         F32::load(raw + kBlock + column) * factor);
    }
  }
}

/// gemm::transpose, by whole vectors where f32 blocks are whole.
inline void transposeRaw(float* to, int64_t toStep, Elements from, int64_t fromStep, int64_t rows,
                         int64_t columns) {
  constexpr int64_t kNumber = sizeof(float);
  if (from.half() || rows % kSide != 0 || columns % kSide != 0)
    return gemm::transpose(from, fromStep, rows, columns, to, toStep);
  for (int64_t row = 0; row < rows; row += kSide)
    for (int64_t column = 0; column < columns; column += kSide)
      tiles::transposeWords(to + column * toStep + row, toStep * kNumber,
                            from.floats() + row * fromStep + column, fromStep * kNumber);
}

enum class Side { rows, columns };

template <Side kSideOf, int kParts>
inline void splitPanel(uint16_t* to, const float* raw, int64_t blocks, float scale) {
  if constexpr (kSideOf == Side::rows)
    splitRows<kParts>(to, raw, blocks, scale);
  else
    splitColumns<kParts>(to, raw, blocks, scale);
}

/// Packs a panel of which `raw` holds kBlock × `blocks` blocks of K, in up to `parts` parts.
template <Side kSideOf>
inline Scale packPanel(uint16_t* to, const float* raw, const Measured& measured, int parts,
                       int64_t blocks) {
  const int64_t count = blocks * kBlock * kTileDepth;
  Scale scale = measured.scale(parts);
  // One part is the number itself, whatever it is.
  if (!scale.fits && scale.parts > 1) {
    __builtin_memcpy(to, raw, size_t(count) * sizeof *raw);
    return scale;
  }
  if (!scale.fits) scale.shift = 0;
  const float factor = powerOfTwo(scale.shift);
  if (scale.parts == 1)
    splitPanel<kSideOf, 1>(to, raw, blocks, factor);
  else if (scale.parts == 2)
    splitPanel<kSideOf, 2>(to, raw, blocks, factor);
  else
    splitPanel<kSideOf, 3>(to, raw, blocks, factor);
  return scale;
}

/// The opposite of splitRows.
inline void joinRows(float* raw, const uint16_t* from, int parts, int64_t blocks, float inverse) {
  for (int64_t row = 0; row < kBlock; row++) {
    for (int64_t k = 0; k < blocks * kTileDepth; k += kLanes, raw += kLanes) {
      F32 x = F32::zero();
      for (int part = parts - 1; part >= 0; part--)
        x += loadBf16(from + part * blocks * kPair + tiles::rowPlace(row, k));
      (x * F32::broadcast(inverse)).store(raw);
    }
  }
}

/// The opposite of splitColumns.
inline void joinColumns(float* raw, const uint16_t* from, int parts, int64_t blocks,
                        float inverse) {
  const F32 factor = F32::broadcast(inverse);
  for (int64_t k = 0; k < blocks * kTileDepth; k += 2, raw += 2 * kBlock) {
    for (int64_t column = 0; column < kBlock; column += kLanes) {
      F32 even = F32::zero(), odd = F32::zero();
      for (int part = parts - 1; part >= 0; part--) {
        I32 pair;
        __builtin_memcpy(&pair, from + part * blocks * kPair + tiles::columnPlace(column, k),
                         sizeof pair);
        even += asFloat(shl(pair, 16));
        odd += asFloat(pair & I32::broadcast(int32_t(0xffff0000)));
      }
      (even * factor).store(raw + column);
      (odd * factor).store(raw + kBlock + column);
    }
  }
}

/// The numbers of a packed panel, in the order in which they were given to packPanel: exact, but
/// for f32 in two parts.
template <Side kSideOf>
inline void unpackPanel(float* raw, const uint16_t* from, int64_t blocks, Scale scale) {
  if (!scale.fits && scale.parts > 1)
    __builtin_memcpy(raw, from, size_t(blocks * kTileDepth * kBlock) * sizeof *raw);
  else if constexpr (kSideOf == Side::rows)
    joinRows(raw, from, scale.parts, blocks, powerOfTwo(-scale.shift));
  else
    joinColumns(raw, from, scale.parts, blocks, powerOfTwo(-scale.shift));
}

}  // namespace figment::FIGMENT_ISA::split
