// Packs the factors of a weight gradient in the order of weight_grad_lines.inl.h, split into bf16
// parts (gemm/split.inl.h). What a chunk holds of a block of channels has one scale: taps read its
// lines in every way. So a chunk is measured before it is packed. Include only from files compiled
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
    const int8_t needed = int8_t((bits & kBelowBf16) == 0 ? 1 : parts);
    if (largest >= kInfinity) return {0, false, needed};
    if (largest == 0) return {0, true, needed};
    const int shift = shiftOf(fromBits(uint32_t(largest)));
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
  Scale* scales;                ///< of each block
  float* factors;               ///< what they multiply by; 0 where numbers are kept as they are

  int64_t numbers, extentCount, scaleCount;  ///< of a chunk

  /// To the chunk that lies so many chunks behind.
  void advance(int64_t chunks) {
    packed += chunks * numbers;
    extents += chunks * extentCount;
    scales += chunks * scaleCount;
    factors += chunks * scaleCount;
  }
  /// What lies at a position.
  const std::byte* at(int64_t position, int64_t channels) const {
    if (position == kNowhere) return reinterpret_cast<const std::byte*>(zeros);
    return (from + position * channels).data;
  }
};

/// How numbers of a format become kParts parts.
template <Format kFormat, int kParts>
struct Splitter {
  static constexpr int64_t kBytes = int64_t(formatBytes(kFormat));

  FIGMENT_INLINE static F32 load(const std::byte* from, int64_t index, int64_t count) {
    const Elements at = {from + index * kBytes, kFormat};
    return gemm::loadElements(at, tiles::lanesBelow(count, index));
  }
  /// Splits a line of what two positions hold of `count` channels. With no factor they are kept as
  /// they are, those of the first position in part 0, of the second in part 1.
  FIGMENT_INLINE static void line(uint16_t* to, int64_t partStep, float factor,
                                  const std::byte* first, const std::byte* second, int64_t count) {
    const F32 scale = F32::broadcast(factor);
    for (int64_t i = 0; i < kSide; i += kLanes, to += 2 * kLanes) {
      const F32 even = load(first, i, count), odd = load(second, i, count);
      if (kParts > 1 && factor == 0) {
        __builtin_memcpy(to, &even, sizeof even);
        __builtin_memcpy(to + partStep, &odd, sizeof odd);
        continue;
      }
      splitVectors<Lanes::pairs, kParts>(to, partStep, even * scale, odd * scale);
    }
  }
};

/// Calls go(splitter) with the splitter of a factor.
template <class F>
inline void withSplitter(const PackedFactor& f, F&& go) {
  if (f.from.format == Format::bf16) return go(Splitter<Format::bf16, 1>());
  if (f.from.format == Format::f16) return go(Splitter<Format::f16, 2>());
  if (f.parts == kFastParts) return go(Splitter<Format::f32, kFastParts>());
  go(Splitter<Format::f32, kExactParts>());
}

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

/// Scales block `block`, of `blocks`, of a chunk by what its `rows` rows hold.
inline void chooseScale(const PackedFactor& f, int64_t rows, int64_t blocks, int64_t block) {
  Extent all;
  for (int64_t row = 0; row < rows; row++) all.join(f.extents[row * blocks + block]);
  const Scale scale = all.scale(f.parts);
  f.scales[block] = scale;
  f.factors[block] = scale.fits ? powerOfTwo(scale.shift) : f.parts == 1 ? 1.0f : 0.0f;
}

/// Packs row `row` of lines of a bundle to `to`, each block by its factor.
inline void splitLines(const GradientWork& g, const PackedFactor& f, int64_t bundle, int64_t row,
                       uint16_t* to) {
  withSplitter(f, [&]<class S>(S) {
    if (g.gathered) {
      using T = std::conditional_t<S::kBytes == sizeof(float), float, uint16_t>;
      const tiles::Image<T> image = {reinterpret_cast<const T*>(f.from.data),
                                     reinterpret_cast<const T*>(f.end)};
      for (int64_t group = 0; group < g.groups; group++, to += g.blocks * f.blockStep)
        tiles::forGathered(
            g, image, group, bundle, row, [&](int64_t line, const T* first, const T* second) {
              uint16_t* at = to + line * kTileDepth;
              for (int64_t block = 0, c = 0; block < g.blocks; block++, c += kSide)
                S::line(at + block * f.blockStep, f.partStep, f.factors[group * g.blocks + block],
                        reinterpret_cast<const std::byte*>(first + c),
                        reinterpret_cast<const std::byte*>(second + c), g.numbers() - c);
            });
      return;
    }
    const int64_t groupBytes = g.groupIn * S::kBytes;
    tiles::forLines(g, bundle, row, [&](int64_t line, int64_t first, int64_t second) {
      const std::byte *even = f.at(first, g.channels), *odd = f.at(second, g.channels);
      uint16_t* at = to + line * kTileDepth;
      const float* factor = f.factors;
      for (int64_t group = 0; group < g.groups; group++, even += groupBytes, odd += groupBytes)
        for (int64_t c = 0; c < g.groupIn; c += kSide, at += f.blockStep)
          S::line(at, f.partStep, *factor++, even + c * S::kBytes, odd + c * S::kBytes,
                  g.groupIn - c);
    });
  });
}

/// Packs the steps of row `row` of the bands of a bundle to `to`, each tile by its factor.
inline void splitRowTiles(const GradientWork& g, const PackedFactor& f, int64_t bundle, int64_t row,
                          uint16_t* to) {
  alignas(tiles::kRowBytes) uint16_t lines[kExactParts * kTile];
  withSplitter(f, [&]<class S>(S) {
    tiles::forSteps(g, bundle, row, [&](int64_t span, const tiles::StepPositions& at) {
      const std::byte *even[kSide], *odd[kSide];
      for (int64_t i = 0; i < kSide; i++) {
        even[i] = f.at(at.first[i], g.channelsOut);
        odd[i] = f.at(at.second[i], g.channelsOut);
      }
      uint16_t* tile = to + span * kTile;
      const float* factor = f.factors;
      for (int64_t group = 0; group < g.groups; group++) {
        for (int64_t o = 0; o < g.groupOut; o += kSide, tile += f.blockStep, factor++) {
          const int64_t from = (group * g.groupOut + o) * S::kBytes;
          for (int64_t i = 0; i < kSide; i++)
            S::line(lines + i * kTileDepth, kTile, *factor, even[i] + from, odd[i] + from,
                    g.groupOut - o);
          for (int part = 0; part < f.parts; part++)
            tiles::transposeWords(tile + part * f.partStep, tiles::kRowBytes, lines + part * kTile,
                                  tiles::kRowBytes);
        }
      }
    });
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
