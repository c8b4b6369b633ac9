// Packs the factors of a weight gradient in the order of weight_grad_lines.inl.h: images into lines
// of B, dy into transposed tiles of A. Include only from files compiled for one instruction set.
#pragma once

#include "kernels/conv/weight_grad_lines.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// Numbers that copies of short runs may read and write behind their end.
constexpr int64_t kRunSlack = 16;

template <class T>
struct RunVector {
  alignas(sizeof(T) * kRunSlack) T numbers[kRunSlack];
};

/// Copies a run of which memory behind its end is written too, and read where it lies before `end`.
template <class T>
FIGMENT_INLINE void copyRun(T* to, const T* from, int64_t count, const T* end) {
  if (from + ceilDiv(count, kRunSlack) * kRunSlack > end) {
    __builtin_memcpy(to, from, size_t(count) * sizeof(T));
    return;
  }
  for (int64_t i = 0; i < count; i += kRunSlack) {
    RunVector<T> numbers;
    __builtin_memcpy(&numbers, from + i, sizeof numbers);
    __builtin_memcpy(to + i, &numbers, sizeof numbers);
  }
}
template <class T>
FIGMENT_INLINE void zeroRun(T* to, int64_t count) {
  const RunVector<T> zeros{};
  for (int64_t i = 0; i < count; i += kRunSlack) __builtin_memcpy(to + i, &zeros, sizeof zeros);
}

/// An image of numbers in one format, whole: runs stop short of its end.
template <class T>
struct Image {
  const T *data, *end;
};

/// Puts what position (y, x) of the image, and those of the other taps behind it, hold of a group
/// into one row of columns. Writes up to kRunSlack numbers more.
template <class T>
FIGMENT_INLINE void gatherColumns(const GradientShape& g, const Image<T>& from, int64_t image,
                                  int64_t group, int64_t y, int64_t x, T* to) {
  const int64_t rowNumbers = g.kernelWidth * g.groupIn,
                lastX = x + g.x.lastOffset() - g.x.firstOffset;
  const bool contiguous = g.groups == 1 && g.x.offsetStep == 1 && x >= 0 && lastX < g.width;
  for (int64_t ty = 0; ty < g.kernelHeight; ty++, y += g.y.offsetStep, to += rowNumbers) {
    if (y < 0 || y >= g.height) {
      zeroRun(to, rowNumbers);
      continue;
    }
    const T* row = from.data + (image * g.height + y) * g.width * g.channels + group * g.groupIn;
    if (contiguous) {
      copyRun(to, row + x * g.channels, rowNumbers, from.end);
      continue;
    }
    for (int64_t tx = 0, at = x; tx < g.kernelWidth; tx++, at += g.x.offsetStep) {
      if (at >= 0 && at < g.width)
        copyRun(to + tx * g.groupIn, row + at * g.channels, g.groupIn, from.end);
      else
        zeroRun(to + tx * g.groupIn, g.groupIn);
    }
  }
}

/// Calls found(line, first, second) for the lines of row `row` of a bundle, of a group whose lines
/// hold columns of all taps: these of the two positions.
template <class T, class F>
FIGMENT_INLINE void forGathered(const GradientShape& g, const Image<T>& from, int64_t group,
                                int64_t bundle, int64_t row, F&& found) {
  T columns[2][kSide][kMostGathered + kRunSlack];
  for (int64_t i = 0; i < g.across; i++) {
    for (int64_t begin = 0; begin < g.columns.count; begin += kSide) {
      const int64_t count = smaller(kSide, g.columns.count - begin);
      for (int64_t half = 0; half < 2; half++) {
        const Band band = Band::of(g, bundle * g.across + i, half);
        const int64_t resultRow = band.firstRow + row;
        const bool inside = band.exists && resultRow < g.outHeight;
        const int64_t y = resultRow * g.y.sourceStep + g.y.firstOffset;
        for (int64_t j = 0; j < count; j++) {
          if (inside && begin + j < g.outWidth)
            gatherColumns(g, from, band.image, group, y,
                          (begin + j) * g.x.sourceStep + g.x.firstOffset, columns[half][j]);
          else
            zeroRun(columns[half][j], g.numbers());
        }
      }
      for (int64_t j = 0; j < count; j++)
        found((begin + j) * g.across + i, columns[0][j], columns[1][j]);
    }
  }
}

/// Packs one row of lines of a bundle to `to`. `zeros` are as many as the image has channels.
inline void packLines(const GradientShape& g, const Image<uint16_t>& image, const uint16_t* zeros,
                      int64_t bundle, int64_t row, int64_t blockStep, uint16_t* to) {
  if (g.gathered) {
    for (int64_t group = 0; group < g.groups; group++, to += g.blocks * blockStep) {
      forGathered(g, image, group, bundle, row,
                  [&](int64_t line, const uint16_t* first, const uint16_t* second) {
                    uint16_t* at = to + line * kTileDepth;
                    for (int64_t block = 0; block < g.blocks; block++, at += blockStep)
                      interleaveLine(at, first + block * kSide, second + block * kSide);
                  });
    }
    return;
  }
  forLines(g, bundle, row, [&](int64_t line, int64_t first, int64_t second) {
    const uint16_t* even = first == kNowhere ? zeros : image.data + first * g.channels;
    const uint16_t* odd = second == kNowhere ? zeros : image.data + second * g.channels;
    uint16_t* at = to + line * kTileDepth;
    for (int64_t group = 0; group < g.groups; group++, even += g.groupIn, odd += g.groupIn)
      for (int64_t c = 0; c < g.groupIn; c += kSide, at += blockStep)
        interleaveLine(at, even + c, odd + c, smaller(kSide, g.groupIn - c));
  });
}

/// Packs the steps of one row of the bands of a bundle to `to`. `zeros` are as many as dy has
/// channels.
inline void packRowTiles(const GradientShape& g, const uint16_t* dy, const uint16_t* zeros,
                         int64_t bundle, int64_t row, int64_t rowStep, uint16_t* to) {
  alignas(kRowBytes) uint16_t lines[kTile];
  forSteps(g, bundle, row, [&](int64_t span, const StepPositions& at) {
    const uint16_t *even[kSide], *odd[kSide];
    for (int64_t i = 0; i < kSide; i++) {
      even[i] = at.first[i] == kNowhere ? zeros : dy + at.first[i] * g.channelsOut;
      odd[i] = at.second[i] == kNowhere ? zeros : dy + at.second[i] * g.channelsOut;
    }
    uint16_t* tile = to + span * kTile;
    for (int64_t group = 0; group < g.groups; group++) {
      for (int64_t o = 0; o < g.groupOut; o += kSide, tile += rowStep) {
        const int64_t channel = group * g.groupOut + o, count = smaller(kSide, g.groupOut - o);
        for (int64_t i = 0; i < kSide; i++)
          interleaveLine(lines + i * kTileDepth, even[i] + channel, odd[i] + channel, count);
        transposeWords(tile, kRowBytes, lines, kRowBytes);
      }
    }
  });
}

}  // namespace figment::FIGMENT_ISA::tiles
