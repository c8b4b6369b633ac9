// The source of a convolution by Winograd's filtering: tiles of the result, what of the source each
// reads, and its transform. Include only from files compiled for one instruction set.
#pragma once

#include "kernels/conv/geometry.inl.h"
#include "kernels/conv/winograd_transforms.inl.h"

namespace figment::FIGMENT_ISA::conv {

/// Row strides that are a multiple of this leave most sets of the L1 cache unused.
constexpr int64_t kRowConflict = 256;

/// A whole and odd number of cache lines: as many arrays that far apart fall into different sets.
constexpr int64_t oddLines(int64_t floats) {
  constexpr int64_t kLine = 16;
  return (ceilDiv(floats, kLine) | 1) * kLine;
}

/// F(kY × kX, 3×3): a grid of tiles of the result.
template <int kY, int kX>
struct TiledGeometry : Geometry {
  static constexpr int kSideY = kY + 2, kSideX = kX + 2, kProducts = kSideY * kSideX;

  explicit TiledGeometry(const Geometry& shape) : Geometry(shape) {
    tilesY = ceilDiv(outHeight, kY);
    tilesX = ceilDiv(outWidth, kX);
    tiles = images * tilesY * tilesX;
    rowStep = rowOf(sourceChannels);
  }

  /// Floats between tiles whose transforms have so many channels.
  static int64_t rowOf(int64_t channels) {
    const int64_t row = ceilDiv(channels, kLanes) * kLanes;
    return row % kRowConflict == 0 ? row + kLanes : row;
  }

  Elements source;
  int64_t tilesY, tilesX, tiles;
  int64_t rowStep;     ///< floats between tiles of a transformed source
  int64_t sourceStep;  ///< and between its products
};

/// The kernel index of tap (y, x) in ascending order of offsets.
FIGMENT_INLINE int64_t tapAt(const Geometry& g, int64_t y, int64_t x) {
  return g.y[0].tap(y) * g.kernelWidth + g.x[0].tap(x);
}

/// A tile of the result: where it begins, and how much of it the result has.
struct TilePlace {
  int64_t image, y, x;
  int rows, columns;
};

template <int kY, int kX>
FIGMENT_INLINE TilePlace placeOf(const TiledGeometry<kY, kX>& g, int64_t tile) {
  const int64_t y = tile / g.tilesX % g.tilesY * kY, x = tile % g.tilesX * kX;
  return {tile / (g.tilesX * g.tilesY), y, x, int(smaller(kY, g.outHeight - y)),
          int(smaller(kX, g.outWidth - x))};
}

/// A pixel of the source by the position of the result that its first tap belongs to, or null in
/// the padding.
template <int kY, int kX>
FIGMENT_INLINE Elements pixelAt(const TiledGeometry<kY, kX>& g, int64_t image, int64_t y,
                                int64_t x) {
  const int64_t row = y + g.y[0].firstOffset, column = x + g.x[0].firstOffset;
  if (row < 0 || row >= g.sourceHeight || column < 0 || column >= g.sourceWidth)
    return {nullptr, g.source.format};
  return g.source + ((image * g.sourceHeight + row) * g.sourceWidth + column) * g.sourceChannels;
}

/// The pixels that a tile reads.
template <int kY, int kX>
struct TilePixels {
  const std::byte* at[kY + 2][kX + 2];

  TilePixels() = default;
  /// `zeros` is a pixel of padding, in any format.
  TilePixels(const TiledGeometry<kY, kX>& g, const float* zeros, int64_t tile) {
    const TilePlace place = placeOf(g, tile);
    for (int y = 0; y < kY + 2; y++)
      for (int x = 0; x < kX + 2; x++) {
        const Elements pixel = pixelAt(g, place.image, place.y + y, place.x + x);
        at[y][x] = pixel.given() ? pixel.data : reinterpret_cast<const std::byte*>(zeros);
      }
  }
};

/// Transforms the channels of one tile of the source to rows `sourceStep` floats apart; `zeros` is
/// a pixel of padding, in any format.
template <int kY, int kX>
inline void transformTile(const TiledGeometry<kY, kX>& g, const float* zeros, int64_t tile,
                          float* to) {
  constexpr int kSideY = kY + 2, kSideX = kX + 2;
  const TilePixels<kY, kX> pixels(g, zeros, tile);
  const int64_t size = g.source.half() ? 2 : 4;
  const auto run = [&](int64_t channel, auto load) __attribute__((always_inline)) {
    bothAxes<kSideY, kSideX, kSideY, kSideX>(
        [](auto& d, auto& v) __attribute__((always_inline)) { transformSource<kY>(d, v); },
        [](auto& d, auto& v) __attribute__((always_inline)) { transformSource<kX>(d, v); },
        [&](int y, int x)
            __attribute__((always_inline)) { return load(pixels.at[y][x] + channel * size); },
        [&](int y, int x, F32 value) __attribute__((always_inline)) {
          value.store(to + (y * kSideX + x) * g.sourceStep + channel);
        });
  };
  int64_t channel = 0;
  if (!g.source.half())
    for (; channel + kLanes <= g.sourceChannels; channel += kLanes)
      run(
          channel, [](const std::byte* at) __attribute__((always_inline)) {
            return F32::load(reinterpret_cast<const float*>(at));
          });
  for (; channel < g.sourceChannels; channel += kLanes) {
    const int count = int(smaller(kLanes, g.sourceChannels - channel));
    run(channel, [&](const std::byte* at) { return loadElements({at, g.source.format}, count); });
  }
}

}  // namespace figment::FIGMENT_ISA::conv
