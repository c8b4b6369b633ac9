// Packs the factors of a weight gradient in the order of weight_grad_lines.inl.h, split into bf16
// parts (gemm/split.inl.h). What a bundle holds of a block of channels has one scale: taps read its
// lines in every way. So a bundle is measured before it is packed. Include only from files compiled
// for one instruction set.
#pragma once

#include "kernels/conv/weight_grad_units.inl.h"
#include "kernels/gemm/split.inl.h"

namespace figment::FIGMENT_ISA::split {

using tiles::GradientWork;
using tiles::kNowhere;
using tiles::kTile;

/// The sizes of some numbers, as bits of f32.
struct Extent {
  int32_t largest = 0, least = INT32_MAX;  ///< of those that are not zero
  int32_t bits = 0;                        ///< that any of them has

  void join(const Extent& other) {
    if (other.largest > largest) largest = other.largest;
    if (other.least < least) least = other.least;
    bits |= other.bits;
  }
  /// What brings such numbers into the range of the tiles.
  Scale scale(int parts) const {
    constexpr int32_t kInfinity = 0x7f800000, kBelowBf16 = 0xffff;
    constexpr int kMostShift = 126;  // whose inverse is a normal number too
    const int8_t needed = int8_t((bits & kBelowBf16) == 0 ? 1 : parts);
    if (largest >= kInfinity) return {0, false, needed};
    if (largest == 0) return {0, true, needed};
    const int shift =
        int(smaller(kTop - exponentOf(fromBits(uint32_t(largest))), int64_t(kMostShift)));
    return {shift, exponentOf(fromBits(uint32_t(least))) + shift >= kBottom, needed};
  }
};

/// Adds what `count` positions, `step` numbers apart, hold in up to kSide channels each.
inline void measure(Elements from, int64_t step, int64_t count, int64_t channels, Extent& extent) {
  const I32 zero = I32::zero(), most = I32::broadcast(INT32_MAX);
  I32 largest = zero, least = most, any = zero;
  for (int64_t i = 0; i < count; i++) {
    for (int64_t c = 0; c < channels; c += kLanes) {
      const int lanes = int(smaller(kLanes, channels - c));
      const I32 bits = asInt(abs(gemm::loadElements(from + (i * step + c), lanes)));
      largest = max(bits, largest);
      least = min(blend(eq(bits, zero), most, bits), least);
      any = any | bits;
    }
  }
  int32_t lanes[3][kLanes];
  largest.store(lanes[0]);
  least.store(lanes[1]);
  any.store(lanes[2]);
  for (int i = 0; i < kLanes; i++) extent.join({lanes[0][i], lanes[1][i], lanes[2][i]});
}

/// A factor, and a chunk of it split into parts: tiles of rows or blocks of lines.
struct PackedFactor {
  Elements from;
  const std::byte* end;  ///< of what it is packed from
  float* zeros;          ///< as many as it has channels
  int64_t zeroCount;
  int parts;
  uint16_t* packed;
  int64_t partStep, blockStep;  ///< from one part of a tile or line to the next, and one block
  Extent* extents;              ///< of each row of a bundle, [bundle][row][block]
  Scale* scales;                ///< of each bundle, [bundle][block]

  Elements at(int64_t position, int64_t channels) const {
    if (position == kNowhere) return {reinterpret_cast<const std::byte*>(zeros), from.format};
    return from + position * channels;
  }
};

/// Splits a line of two positions. Numbers that do not fit are kept as they are, those of the
/// first position in part 0, of the second in part 1.
FIGMENT_INLINE void splitLine(uint16_t* to, int64_t partStep, int parts, bool raw, F32 factor,
                              Elements first, Elements second, int64_t count) {
  for (int64_t i = 0; i < kSide; i += kLanes, to += 2 * kLanes) {
    const int lanes = tiles::lanesBelow(count, i);
    F32 even = gemm::loadElements(first + i, lanes), odd = gemm::loadElements(second + i, lanes);
    if (raw) {
      __builtin_memcpy(to, &even, sizeof even);
      __builtin_memcpy(to + partStep, &odd, sizeof odd);
      continue;
    }
    even = even * factor;
    odd = odd * factor;
    uint16_t* at = to;
    for (int part = 0; part < parts; part++, at += partStep) {
      const F32 evenHigh = nearestBf16(even), oddHigh = nearestBf16(odd);
      const I32 pair = shr(asInt(evenHigh), 16) | asInt(oddHigh);
      __builtin_memcpy(at, &pair, sizeof pair);
      even -= evenHigh;
      odd -= oddHigh;
    }
  }
}

/// How numbers of a scale are packed in `parts` parts.
struct Packing {
  bool raw;
  F32 factor;
  Packing(Scale scale, int parts)
      : raw(!scale.fits && parts > 1),
        factor(F32::broadcast(powerOfTwo(scale.fits ? scale.shift : 0))) {}
};

/// Calls found(from) for the positions of the image where row `row` of places of a bundle begins
/// within the image.
template <class F>
FIGMENT_INLINE void forSourceRows(const GradientWork& g, int64_t bundle, int64_t row, F&& found) {
  const conv::Axis& y = g.y;
  for (int64_t i = 0; i < 2 * g.across; i++) {
    const tiles::Band band = tiles::Band::of(g, bundle * g.across + i / 2, i % 2);
    if (!band.exists) continue;
    const int64_t taps = g.gathered ? g.kernelHeight : 1;
    for (int64_t tap = 0; tap < taps; tap++) {
      const int64_t at = g.gathered ? (band.firstRow + row) * y.sourceStep + y.offset(tap)
                                    : g.rows.source(row) + band.firstRow * g.rows.step;
      if (at >= 0 && at < g.height) found((band.image * g.height + at) * g.width);
    }
  }
}

/// Measures row `row` of places of a bundle.
inline void measureLines(const GradientWork& g, const PackedFactor& f, int64_t bundle, int64_t row,
                         Extent* extents) {
  /// Positions whose channels lie in a first-level cache.
  constexpr int64_t kNear = 16;
  const int64_t blocks = g.groups * g.blocks;
  for (int64_t i = 0; i < blocks; i++) extents[i] = Extent();
  forSourceRows(g, bundle, row, [&](int64_t from) {
    if (g.gathered) {
      measure(f.from + from * g.channels, kSide, g.width * g.channels / kSide, kSide, extents[0]);
      measure(f.from + (from * g.channels + g.width * g.channels / kSide * kSide), 0, 1,
              g.width * g.channels % kSide, extents[0]);
      return;
    }
    for (int64_t x = 0; x < g.width; x += kNear)
      for (int64_t i = 0; i < blocks; i++) {
        const int64_t c = i % g.blocks * kSide;
        measure(f.from + ((from + x) * g.channels + i / g.blocks * g.groupIn + c), g.channels,
                smaller(kNear, g.width - x), smaller(kSide, g.groupIn - c), extents[i]);
      }
  });
  if (g.gathered)
    for (int64_t i = 1; i < blocks; i++) extents[i] = extents[0];
}

/// Measures row `row` of the bands of a bundle in dy.
inline void measureRows(const GradientWork& g, const PackedFactor& f, int64_t bundle, int64_t row,
                        Extent* extents) {
  constexpr int64_t kNear = 16;
  const int64_t blocks = g.groups * g.rowTiles;
  for (int64_t i = 0; i < blocks; i++) extents[i] = Extent();
  for (int64_t j = 0; j < 2 * g.across; j++) {
    const tiles::Band band = tiles::Band::of(g, bundle * g.across + j / 2, j % 2);
    const int64_t y = band.firstRow + row;
    if (!band.exists || y >= g.outHeight) continue;
    const int64_t from = (band.image * g.outHeight + y) * g.outWidth;
    for (int64_t x = 0; x < g.outWidth; x += kNear)
      for (int64_t i = 0; i < blocks; i++) {
        const int64_t o = i % g.rowTiles * kSide;
        measure(f.from + ((from + x) * g.channelsOut + i / g.rowTiles * g.groupOut + o),
                g.channelsOut, smaller(kNear, g.outWidth - x), smaller(kSide, g.groupOut - o),
                extents[i]);
      }
  }
}

/// Scales the blocks of a bundle by what its rows hold.
inline void chooseScales(const PackedFactor& f, int64_t bundle, int64_t rows, int64_t blocks) {
  for (int64_t block = 0; block < blocks; block++) {
    Extent all;
    for (int64_t row = 0; row < rows; row++)
      all.join(f.extents[(bundle * rows + row) * blocks + block]);
    f.scales[bundle * blocks + block] = all.scale(f.parts);
  }
}

/// Gathers lines of columns of all taps from numbers of type T, which hold elements of the factor.
template <class T>
inline void splitGathered(const GradientWork& g, const PackedFactor& f, int64_t bundle, int64_t row,
                          const Scale* scales, uint16_t* to) {
  const tiles::Image<T> image = {reinterpret_cast<const T*>(f.from.data),
                                 reinterpret_cast<const T*>(f.end)};
  for (int64_t group = 0; group < g.groups; group++)
    tiles::forGathered(
        g, image, group, bundle, row, [&](int64_t line, const T* first, const T* second) {
          for (int64_t b = 0; b < g.blocks; b++) {
            const int64_t block = group * g.blocks + b;
            const Packing packing(scales[block], f.parts);
            const auto from = [&](const T* numbers) {
              return Elements{reinterpret_cast<const std::byte*>(numbers), f.from.format} +
                     b * kSide;
            };
            splitLine(to + block * f.blockStep + line * kTileDepth, f.partStep, f.parts,
                      packing.raw, packing.factor, from(first), from(second),
                      g.numbers() - b * kSide);
          }
        });
}

/// Packs row `row` of lines of bundle `bundle` to `to`, by the scales of its blocks.
inline void splitLines(const GradientWork& g, const PackedFactor& f, int64_t bundle, int64_t row,
                       const Scale* scales, uint16_t* to) {
  if (g.gathered)
    return f.from.half() ? splitGathered<uint16_t>(g, f, bundle, row, scales, to)
                         : splitGathered<float>(g, f, bundle, row, scales, to);
  tiles::forLines(g, bundle, row, [&](int64_t line, int64_t first, int64_t second) {
    const Elements even = f.at(first, g.channels), odd = f.at(second, g.channels);
    uint16_t* at = to + line * kTileDepth;
    const Scale* scale = scales;
    for (int64_t group = 0; group < g.groups; group++)
      for (int64_t c = 0; c < g.groupIn; c += kSide, at += f.blockStep, scale++) {
        const Packing packing(*scale, f.parts);
        const int64_t channel = group * g.groupIn + c;
        splitLine(at, f.partStep, f.parts, packing.raw, packing.factor, even + channel,
                  odd + channel, smaller(kSide, g.groupIn - c));
      }
  });
}

/// Packs the steps of row `row` of the bands of a bundle to `to`.
inline void splitRowTiles(const GradientWork& g, const PackedFactor& f, int64_t bundle, int64_t row,
                          const Scale* scales, uint16_t* to) {
  alignas(tiles::kRowBytes) uint16_t lines[kExactParts * kTile];
  tiles::forSteps(g, bundle, row, [&](int64_t span, const tiles::StepPositions& at) {
    uint16_t* tile = to + span * kTile;
    const Scale* scale = scales;
    for (int64_t group = 0; group < g.groups; group++) {
      for (int64_t o = 0; o < g.groupOut; o += kSide, tile += f.blockStep, scale++) {
        const Packing packing(*scale, f.parts);
        const int64_t channel = group * g.groupOut + o, count = smaller(kSide, g.groupOut - o);
        for (int64_t i = 0; i < kSide; i++)
          splitLine(lines + i * kTileDepth, kTile, f.parts, packing.raw, packing.factor,
                    f.at(at.first[i], g.channelsOut) + channel,
                    f.at(at.second[i], g.channelsOut) + channel, count);
        for (int part = 0; part < f.parts; part++)
          tiles::transposeWords(tile + part * f.partStep, tiles::kRowBytes, lines + part * kTile,
                                tiles::kRowBytes);
      }
    }
  });
}

/// The numbers of a packed tile as two 16×16 matrices: of the first and of the second of each pair.
inline void joinTile(const uint16_t* from, int64_t partStep, int parts, Scale scale, float* first,
                     float* second) {
  constexpr int64_t kNumbers = kSide * kSide;
  if (!scale.fits && parts > 1) {
    __builtin_memcpy(first, from, kNumbers * sizeof *first);
    __builtin_memcpy(second, from + partStep, kNumbers * sizeof *second);
    return;
  }
  const F32 factor = F32::broadcast(powerOfTwo(scale.fits ? -scale.shift : 0));
  for (int64_t i = 0; i < kNumbers; i += kLanes, from += 2 * kLanes) {
    F32 even = F32::zero(), odd = F32::zero();
    for (int part = parts - 1; part >= 0; part--) {
      I32 pair;
      __builtin_memcpy(&pair, from + part * partStep, sizeof pair);
      even += asFloat(shl(pair, 16));
      odd += asFloat(pair & I32::broadcast(int32_t(0xffff0000)));
    }
    (even * factor).store(first + i);
    (odd * factor).store(second + i);
  }
}

}  // namespace figment::FIGMENT_ISA::split
