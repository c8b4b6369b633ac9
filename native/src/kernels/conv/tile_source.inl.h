// Brings what the rows of a part read to where tiles load it (tile_plan.inl.h): the padded copy of
// a part of the image, in blocks of 32 channels, and from it, where that pays, what each position
// reads. f32 numbers are split on the way, all of a part by one scale. Include only from files
// compiled for one instruction set.
#pragma once

#include "kernels/conv/tile_plan.inl.h"
#include "kernels/gemm/split.inl.h"
#include "kernels/simd/even_odd.h"

namespace figment::FIGMENT_ISA::tiles::implicit {

using split::Scale;

FIGMENT_INLINE I32 loadBits(const void* from) {
  I32 bits;
  __builtin_memcpy(&bits, from, sizeof bits);
  return bits;
}
FIGMENT_INLINE void storeBits(void* to, I32 bits) { __builtin_memcpy(to, &bits, sizeof bits); }

FIGMENT_INLINE uint16_t* numbersAt(std::byte* at) { return reinterpret_cast<uint16_t*>(at); }
FIGMENT_INLINE const uint16_t* numbersAt(const std::byte* at) {
  return reinterpret_cast<const uint16_t*>(at);
}

/// Runs of memory, `step` bytes apart.
struct Runs {
  const std::byte* from;
  int64_t bytes, count = 1, step = 0;
};

/// The sizes of numbers, gathered vector by vector.
struct Sizes {
  I32 largest = I32::zero(), least = I32::broadcast(INT32_MAX), low = I32::zero();

  FIGMENT_INLINE void add(F32 x) {
    const I32 size = asInt(x) & I32::broadcast(INT32_MAX);
    largest = max(largest, size);
    least = min(least, size + I32::broadcast(INT32_MAX));  // zero is the largest there is
    low = low | asInt(x);
  }
  void add(Elements from, int64_t count) {
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes) add(gemm::loadElements(from + i, kLanes));
    if (i < count) add(gemm::loadElements(from + i, int(count - i)));
  }
  /// What brings them, in up to `parts` parts, into the range of the tiles.
  Scale scale(int parts) const {
    constexpr uint32_t kInfinity = 0x7f800000u, kBf16 = 0xffffu;
    int32_t most[kLanes], fewest[kLanes], bits[kLanes];
    largest.store(most);
    least.store(fewest);
    low.store(bits);
    for (int i = 1; i < kLanes; i++) {
      most[0] = most[i] > most[0] ? most[i] : most[0];
      fewest[0] = fewest[i] < fewest[0] ? fewest[i] : fewest[0];
      bits[0] |= bits[i];
    }
    const int8_t needed = int8_t((uint32_t(bits[0]) & kBf16) == 0 ? 1 : parts);
    if (uint32_t(most[0]) >= kInfinity) return {0, false, needed};
    if (most[0] == 0) return {0, true, needed};
    const int bottom = split::exponentOf(fromBits(uint32_t(fewest[0]) - uint32_t(INT32_MAX)));
    const int shift = split::shiftOf(fromBits(uint32_t(most[0])));
    return {shift, bottom + shift >= split::kBottom, needed};
  }
};

/// Splits a whole line of f32 channels.
template <int kParts>
FIGMENT_INLINE void splitWholeLine(std::byte* to, int64_t partBytes, const float* from,
                                   F32 factor) {
  for (int64_t i = 0; i < kTileDepth; i += 2 * kLanes, to += 4 * kLanes) {
    F32 even, odd;
    loadEvenOdd(from + i, even, odd);
    even = even * factor;
    odd = odd * factor;
    for (int part = 0; part < kParts; part++) {
      const F32 evenHigh = split::nearestBf16(even), oddHigh = split::nearestBf16(odd);
      storeBits(to + part * partBytes, shr(asInt(evenHigh), 16) | asInt(oddHigh));
      even -= evenHigh;
      odd -= oddHigh;
    }
  }
}

/// Splits a line of channels; `count` of them are given, the others are zero.
inline void splitLine(std::byte* to, int64_t partBytes, int parts, Elements from, int64_t count,
                      F32 factor) {
  if (!from.half() && count == kTileDepth) {
    if (parts == 1) return splitWholeLine<1>(to, partBytes, from.floats(), factor);
    if (parts == 2) return splitWholeLine<2>(to, partBytes, from.floats(), factor);
    return splitWholeLine<split::kExactParts>(to, partBytes, from.floats(), factor);
  }
  for (int64_t i = 0; i < kTileDepth; i += kLanes, to += kLanes * 2) {
    const int64_t lanes = smaller(count - i, kLanes);
    F32 rest = lanes > 0 ? gemm::loadElements(from + i, int(lanes)) * factor : F32::zero();
    for (int part = 0; part < parts; part++) {
      const F32 high = split::nearestBf16(rest);
      shr(asInt(high), 16).storeLow16(numbersAt(to + part * partBytes));
      rest -= high;
    }
  }
}

/// Fills what tiles load of a part; `window` is only used for what positions read.
class SourceFiller {
 public:
  SourceFiller(const TilePlan& g, int64_t group, const TilePart& part)
      : g_(g),
        part_(part),
        channel_(group * g.groupIn),
        firstY_(part.begin * g.windowY.step + g.windowY.lowest) {}

  /// The scale of the part's numbers.
  Scale scale() const {
    const int64_t last = firstY_ + g_.windowY.span(part_.end - part_.begin);
    Sizes sizes;
    for (int64_t image = part_.firstImage; image < part_.firstImage + part_.images; image++)
      for (int64_t y = larger(firstY_, 0); y < smaller(last, g_.sourceHeight); y++) {
        const Elements row = pixel(image, y, 0);
        if (g_.groups == 1)
          sizes.add(row, g_.sourceWidth * g_.sourceChannels);
        else
          for (int64_t x = 0; x < g_.sourceWidth; x++)
            sizes.add(row + x * g_.sourceChannels, g_.groupIn);
      }
    return sizes.scale(g_.parts.rows);
  }

  /// With numbers times `factor`, in `parts` parts.
  void fill(std::byte* to, std::byte* window, int parts, float factor) const {
    if (g_.positionwise()) {
      fillPlain(window, parts, factor);
      for (int64_t phase = 0; phase < g_.phases(); phase++)
        for (int part = 0; part < parts; part++) {
          const std::byte* from = window + part * g_.partBytes;
          std::byte* rows = to + g_.phaseAt(phase) + part * g_.phasePartBytes(phase);
          if (g_.form == Form::columns)
            gatherColumns(from, rows);
          else
            gather(phase, from, rows);
        }
      return;
    }
    const int64_t planesY = g_.windowY.images(), planesX = g_.windowX.images();
    const int64_t lines = g_.stacks() * g_.imageLines;
    for (int64_t image = 0; image < part_.images; image++)
      for (int64_t planeY = 0; planeY < planesY; planeY++)
        for (int64_t line = 0; line < g_.imageLines; line++)
          for (int64_t planeX = 0; planeX < planesX; planeX++) {
            const int64_t place =
                (planeY * planesX + planeX) * lines + image / g_.abreast * g_.imageLines + line;
            const int64_t slot = place * g_.pitch + image % g_.abreast;
            fillLine(to + slot * g_.slotBytes, part_.firstImage + image,
                     firstY_ + line * g_.windowY.step + planeY, g_.windowX.lowest + planeX, parts,
                     factor);
          }
  }

 private:
  Elements pixel(int64_t image, int64_t y, int64_t x) const {
    return g_.source +
           (((image * g_.sourceHeight + y) * g_.sourceWidth + x) * g_.sourceChannels + channel_);
  }

  /// A line of the window, of every `step`th position of the image from `firstX` on.
  void fillLine(std::byte* to, int64_t image, int64_t y, int64_t firstX, int parts,
                float factor) const {
    const int64_t step = g_.windowX.step, width = g_.pitch / g_.abreast;
    const bool inside = y >= 0 && y < g_.sourceHeight;
    const int64_t begin = inside ? smaller(firstX >= 0 ? 0 : ceilDiv(-firstX, step), width) : width;
    const int64_t room = g_.sourceWidth - firstX;
    const int64_t end = larger(begin, smaller(room <= 0 ? 0 : ceilDiv(room, step), width));
    clear(to, 0, begin, parts);
    clear(to, end, width, parts);
    if (begin >= end) return;
    const Elements from = pixel(image, y, firstX + begin * step);
    const int64_t fromStep = step * g_.sourceChannels;
    for (int64_t i = 0; i < end - begin; i++) {
      std::byte* at = to + (begin + i) * g_.abreast * g_.slotBytes;
      Elements channels = from + i * fromStep;
      for (int64_t left = g_.groupIn; left > 0; left -= kTileDepth) {
        if (g_.split())
          splitLine(at, g_.partBytes, parts, channels, smaller(left, kTileDepth),
                    F32::broadcast(factor));
        else if (left >= kTileDepth)
          copyLine(numbersAt(at), numbersAt(channels.data));
        else
          copyLine(numbersAt(at), numbersAt(channels.data), left);
        at += g_.blockBytes;
        channels = channels + kTileDepth;
      }
    }
  }
  void clear(std::byte* to, int64_t begin, int64_t end, int parts) const {
    const int64_t runs = g_.abreast == 1 ? 1 : end - begin,
                  count = g_.abreast == 1 ? end - begin : 1;
    for (int part = 0; part < parts; part++)
      for (int64_t run = 0; run < runs; run++)
        __builtin_memset(to + part * g_.partBytes + (begin + run) * g_.abreast * g_.slotBytes, 0,
                         size_t(count * g_.slotBytes));
  }

  /// A copy of the part of the image as it is, with its padding.
  void fillPlain(std::byte* to, int parts, float factor) const {
    const int64_t rowBytes = g_.pitch * g_.slotBytes;
    const int64_t firstX = g_.windowX.lowest;
    const int64_t begin = smaller(larger(-firstX, 0), g_.pitch);
    const int64_t end = larger(begin, smaller(g_.sourceWidth - firstX, g_.pitch));
    for (int64_t image = 0; image < part_.images; image++)
      for (int64_t line = 0; line < g_.imageLines; line++, to += rowBytes) {
        const int64_t y = firstY_ + line;
        const bool inside = y >= 0 && y < g_.sourceHeight && begin < end;
        for (int part = 0; part < parts; part++) {
          std::byte* row = to + part * g_.partBytes;
          __builtin_memset(row, 0, size_t(inside ? begin * g_.slotBytes : rowBytes));
          if (inside)
            __builtin_memset(row + end * g_.slotBytes, 0, size_t((g_.pitch - end) * g_.slotBytes));
        }
        if (!inside) continue;
        std::byte* at = to + begin * g_.slotBytes;
        const Elements from = pixel(part_.firstImage + image, y, firstX + begin);
        if (g_.groups == 1)
          copyNumbers(at, from, (end - begin) * g_.groupIn, parts, factor);
        else
          for (int64_t x = 0; x < end - begin; x++)
            copyNumbers(at + x * g_.slotBytes, from + x * g_.sourceChannels, g_.groupIn, parts,
                        factor);
      }
  }
  void copyNumbers(std::byte* to, Elements from, int64_t count, int parts, float factor) const {
    if (!g_.split()) {
      __builtin_memcpy(to, from.data, size_t(count) * 2);
      return;
    }
    int64_t i = 0;
    for (; i + kLanes <= count; i += kLanes)
      splitInto(to + 2 * i, gemm::loadElements(from + i, kLanes), kLanes, parts, factor);
    if (i < count)
      splitInto(to + 2 * i, gemm::loadElements(from + i, int(count - i)), count - i, parts, factor);
  }
  FIGMENT_INLINE void splitInto(std::byte* to, F32 x, int64_t count, int parts,
                                float factor) const {
    F32 rest = x * F32::broadcast(factor);
    for (int part = 0; part < parts; part++, to += g_.partBytes) {
      const F32 high = split::nearestBf16(rest);
      uint16_t bits[kLanes];
      shr(asInt(high), 16).storeLow16(bits);
      __builtin_memcpy(to, bits, size_t(count) * 2);
      rest -= high;
    }
  }

  /// Copies what each position of a phase reads. Runs are copied in whole vectors: what goes beyond
  /// one is overwritten by the next.
  void gather(int64_t phase, const std::byte* window, std::byte* to) const {
    const conv::Axis &y = g_.axisY(phase), &x = g_.axisX(phase);
    const int64_t rowBytes = g_.rowBytes(phase), depth = g_.depth(phase);
    const bool together = x.offsetStep == 1;
    const int64_t runs = together ? 1 : x.taps;
    const int64_t runBytes = (together ? x.taps : 1) * g_.slotBytes;
    const int64_t runStep = x.offsetStep * g_.slotBytes;
    const int64_t lines = smaller(part_.end, y.size) - part_.begin;
    for (int64_t image = 0; image < part_.images; image++)
      for (int64_t line = 0; line < lines; line++)
        for (int64_t i = 0; i < x.size; i++, to += rowBytes) {
          std::byte* at = to;
          for (int64_t ty = 0; ty < y.taps; ty++) {
            const int64_t row =
                image * g_.imageLines + line * g_.windowY.step + y.offset(ty) - g_.windowY.lowest;
            const int64_t column = i * g_.windowX.step + x.firstOffset - g_.windowX.lowest;
            const std::byte* from = window + (row * g_.pitch + column) * g_.slotBytes;
            for (int64_t run = 0; run < runs; run++, at += runBytes, from += runStep)
              for (int64_t done = 0; done < runBytes; done += sizeof(I32))
                storeBits(at + done, loadBits(from + done));
          }
          for (int64_t done = depth * 2; done < g_.steps(phase) * kLineBytes; done += sizeof(I32))
            storeBits(to + done, I32::zero());
        }
  }

  /// Copies what all taps of each column of the window read, for each line of the result.
  void gatherColumns(const std::byte* window, std::byte* to) const {
    constexpr int64_t kSmall = 8, kMiddle = 16;
    if (g_.slotBytes <= kSmall)
      gatherRuns<kSmall>(window, to);
    else if (g_.slotBytes <= kMiddle)
      gatherRuns<kMiddle>(window, to);
    else
      gatherRuns<int64_t(sizeof(I32))>(window, to);
  }
  /// Runs of channels are copied `kBytes` at a time: what goes beyond one is overwritten by the
  /// next or by the zeros behind the last.
  template <int64_t kBytes>
  void gatherRuns(const std::byte* window, std::byte* to) const {
    const conv::Axis& y = g_.y[0];
    const int64_t lines = part_.end - part_.begin, lineBytes = g_.linePitch * g_.rowBytes(0);
    const int64_t columnBytes = g_.columnNumbers * int64_t(sizeof(uint16_t));
    const int64_t runBytes = g_.slotBytes, pad = columnBytes - y.taps * runBytes;
    const int64_t tapStep = y.offsetStep * g_.pitch * runBytes;
    const I32 zero = I32::zero();
    for (int64_t image = 0; image < part_.images; image++)
      for (int64_t line = 0; line < lines; line++, to += lineBytes) {
        const int64_t row =
            image * g_.imageLines + line * g_.windowY.step + y.firstOffset - g_.windowY.lowest;
        const std::byte* from = window + row * g_.pitch * runBytes;
        for (int64_t x = 0; x < g_.pitch; x++, from += runBytes) {
          std::byte* at = to + x * columnBytes;
          const std::byte* tap = from;
          for (int64_t t = 0; t < y.taps; t++, at += runBytes, tap += tapStep)
            for (int64_t done = 0; done < runBytes; done += kBytes)
              __builtin_memcpy(at + done, tap + done, kBytes);
          for (int64_t done = 0; done < pad; done += kBytes)
            __builtin_memcpy(at + done, &zero, smaller(kBytes, int64_t(sizeof zero)));
        }
      }
  }

  const TilePlan& g_;
  const TilePart& part_;
  const int64_t channel_, firstY_;
};

}  // namespace figment::FIGMENT_ISA::tiles::implicit
