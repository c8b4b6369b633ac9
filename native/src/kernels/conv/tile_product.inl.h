// The loops of a convolution over matrix tiles. A few blocks of sums are multiplied in turns, one
// cut of K after the other: the sums and the cut of a panel stay in the first-level cache for them,
// which a block for all of K would stream from the second one. While the next blocks are being
// multiplied, finished ones get their bias, activation and format, a row at each step of K, by the
// units of the processor that tiles leave idle. Include only from files compiled for one
// instruction set.
#pragma once

#include "kernels/conv/tile_weights.inl.h"
#include "kernels/gemm/split_tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles::implicit {

/// Sums of a tile, and of the blocks that are multiplied in turns.
constexpr int64_t kSumsOfTile = kSide * kSide;
constexpr int64_t kTurnSums = kTurnTiles * kColumnTiles * kSumsOfTile;

/// What is done between the steps of a product: finishes sums and stores them, row by row, and
/// brings closer what is read next.
class Finisher {
 public:
  /// `sums` has room for two turns, one to be finished while the other is filled.
  Finisher(const TilePlan& g, float* sums) : out_(g.out), activation_(g.activation), sums_(sums) {}
  Finisher(const Finisher&) = delete;
  Finisher& operator=(const Finisher&) = delete;

  /// Where the sums go that are multiplied next.
  float* free() const { return sums_ + turn_ * kTurnSums; }

  /// Takes on what was put there: `rows` rows whose result, from channel `channel` on, begins at
  /// places[row], or is not wanted where that is negative. Some of them are finished in each of
  /// `steps` steps.
  void begin(const int64_t* places, int64_t rows, int64_t channel, int64_t columns, int columnTiles,
             const float* bias, int exponent, int64_t steps) {
    from_ = free();
    turn_ ^= 1;
    places_ = places;
    next_ = 0;
    rows_ = rows;
    channel_ = channel;
    columns_ = columns;
    columnTiles_ = columnTiles;
    bias_ = bias;
    exponent_ = exponent;
    rate_ = ceilDiv(rows, larger(steps, 1));
    wait_ = pace_ = larger(steps / larger(rows, 1), 1);
    plain_ = columns == kPanelColumns && out_.format == Format::bf16 && exponent == 0 &&
             activation_ == kNoActivation;
  }
  /// Brings memory into the second-level cache within `steps` steps.
  void bring(const void* from, int64_t bytes, int64_t steps) {
    ahead_ = static_cast<const std::byte*>(from);
    aheadEnd_ = ahead_ + bytes;
    aheadBytes_ = ceilDiv(ceilDiv(bytes, kLineBytes), larger(steps, 1)) * kLineBytes;
  }
  FIGMENT_INLINE void advance() {
    if (ahead_ < aheadEnd_) {
      for (int64_t i = 0; i < aheadBytes_; i += kLineBytes) __builtin_prefetch(ahead_ + i, 0, 2);
      ahead_ += aheadBytes_;
    }
    if (next_ >= rows_ || --wait_ > 0) return;
    wait_ = pace_;
    for (int64_t i = 0; i < rate_ && next_ < rows_; i++) finishNext();
  }
  FIGMENT_INLINE void finish() {
    while (next_ < rows_) finishNext();
  }

 private:
  FIGMENT_INLINE void finishNext() {
    const int64_t row = next_++, place = places_[row];
    if (place < 0) return;
    const float* sums = from_ + row / kSide * columnTiles_ * kSumsOfTile + row % kSide * kSide;
    if (plain_)
      finishPlain(out_.data + 2 * (place + channel_), sums);
    else
      finishRow(out_ + (place + channel_), sums);
  }

  /// The upper halves of the result are bf16, rounded to nearest even; not for NaN.
  static FIGMENT_INLINE I32 rounded(F32 x) {
    const I32 bits = asInt(x);
    return bits + I32::broadcast(0x7fff) + (shr(bits, 16) & I32::broadcast(1));
  }
  /// What most rows are: pairs of bf16, with nothing but a bias.
  FIGMENT_INLINE void finishPlain(std::byte* to, const float* sums) const {
    for (int64_t i = 0; i < kSide; i += kLanes) {
      F32 even = F32::load(sums + i), odd = F32::load(sums + kSumsOfTile + i);
      if (bias_) {
        even += F32::load(bias_ + i);
        odd += F32::load(bias_ + kSide + i);
      }
      const bool nan = any(isNan(even) | isNan(odd));
      const I32 low = nan ? toBf16Bits(even) : shr(rounded(even), 16);
      const I32 high =
          nan ? shl(toBf16Bits(odd), 16) : rounded(odd) & I32::broadcast(int32_t(0xffff0000));
      storeBits(to + 4 * i, low | high);
    }
  }

  F32 finished(const float* sums, int64_t column) const {
    F32 x = F32::load(sums);
    if (exponent_ != 0) {
      // In two steps, because the power may be none that f32 has.
      const int half = exponent_ / 2;
      x = x * F32::broadcast(split::powerOfTwo(half)) *
          F32::broadcast(split::powerOfTwo(exponent_ - half));
    }
    if (bias_) x += F32::load(bias_ + column);
    return activation_ == kNoActivation ? x : gemm::activate(x, activation_);
  }
  [[gnu::noinline]] void finishRow(Results to, const float* sums) const {
    const float* odd = sums + kSumsOfTile;
    const bool whole = columns_ == columnTiles_ * kSide;
    float staged[kBlock];
    float* pairs = whole && !to.half() ? to.floats() : staged;
    for (int64_t i = 0; i < kSide; i += kLanes)
      if (columnTiles_ == 1)
        finished(sums + i, i).store(pairs + i);
      else
        storeEvenOdd(pairs + 2 * i, finished(sums + i, i), finished(odd + i, kSide + i));
    if (pairs == staged) gemm::narrow(to, staged, columns_);
  }

  const Results out_;
  const int activation_;
  float* const sums_;
  int64_t turn_ = 0;
  const float* from_ = nullptr;
  const int64_t* places_ = nullptr;
  int64_t next_ = 0, rows_ = 0, channel_ = 0, columns_ = 0;
  int64_t rate_ = 1, pace_ = 1, wait_ = 1;  ///< rows at a time, once in so many steps
  const float* bias_ = nullptr;
  const std::byte *ahead_ = nullptr, *aheadEnd_ = nullptr;
  int64_t aheadBytes_ = 0;  ///< a step
  int columnTiles_ = 1, exponent_ = 0;
  bool plain_ = false;
};

/// Tiles of rows; the numbers of parts are so far apart.
struct RowTiles {
  const std::byte* at[kRowTiles];
  int64_t rowBytes, partBytes;
};

/// Calls f.operator()<0>(), … <kCount - 1>().
template <int kCount, class F>
FIGMENT_INLINE void eachTile(F&& f) {
  [&]<int... kAt>(std::integer_sequence<int, kAt...>) { (f.template operator()<kAt>(), ...); }
  (std::make_integer_sequence<int, kCount>{});
}

/// Adds the products of a step of K to the sums in tiles 0, 1, …, row by row.
template <int kRows, int kColumns, class Tiles>
FIGMENT_INLINE void multiplyStep(Tiles& tiles, const RowTiles& a, int64_t offset,
                                 const uint16_t* b) {
  const int64_t rowBytes = a.rowBytes;
  tiles.template load<4>(a.at[0] + offset, rowBytes);
  tiles.template load<6>(b, kRowBytes);
  tiles.template dot<0, 4, 6>();
  if constexpr (kColumns == 2) {
    tiles.template load<7>(b + kTile, kRowBytes);
    tiles.template dot<1, 4, 7>();
  }
  if constexpr (kRows == 2) {
    tiles.template load<5>(a.at[1] + offset, rowBytes);
    tiles.template dot<kColumns, 5, 6>();
    if constexpr (kColumns == 2) tiles.template dot<3, 5, 7>();
  }
}

/// Adds a cut of K to a block of sums, from zero if it is the first: `steps` steps of `bStep`
/// numbers of packed weights each. Of factors that are split, products come in the order of `chain`
/// in each step.
template <int kRows, int kColumns, bool kSplit, class Tiles>
inline void multiplyBlock(Tiles& tiles, const split::Chain& chain, const RowTiles& a,
                          const int32_t* offsets, const uint16_t* b, int64_t bStep, int64_t steps,
                          bool first, float* sums, Finisher& finisher) {
  if (first)
    eachTile<kRows * kColumns>([&]<int kAt>() { tiles.template zero<kAt>(); });
  else
    eachTile<kRows * kColumns>(
        [&]<int kAt>() { tiles.template load<kAt>(sums + kAt * kSumsOfTile, kRowBytes); });
  for (int64_t k = 0; k < steps; k++, b += bStep) {
    if constexpr (kSplit) {
      for (int t = 0; t < chain.count; t++)
        multiplyStep<kRows, kColumns>(tiles, a, offsets[k] + chain.terms[t].row * a.partBytes,
                                      b + chain.terms[t].column * kColumns * kTile);
    } else {
      multiplyStep<kRows, kColumns>(tiles, a, offsets[k], b);
    }
    finisher.advance();
  }
  eachTile<kRows * kColumns>(
      [&]<int kAt>() { tiles.template store<kAt>(sums + kAt * kSumsOfTile, kRowBytes); });
}

/// The tiles of rows of a part in a phase: where each begins, and where the results of its rows go.
struct TileTable {
  int64_t* starts;  ///< bytes
  int64_t* places;  ///< kSide a tile, see Finisher
  int64_t count = 0;
  int64_t rowBytes, partBytes;

  static TileTable take(gemm::Carver& carver, const TilePlan& g) {
    TileTable t;
    t.starts = carver.take<int64_t>(g.mostTiles() + 1);
    t.places = carver.take<int64_t>((g.mostTiles() + 1) * kSide);
    return t;
  }

  void describe(const TilePlan& g, int64_t phase, int64_t group, const TilePart& part) {
    const conv::Axis &y = g.axisY(phase), &x = g.axisX(phase);
    const int64_t lines = smaller(part.end, y.size) - part.begin;
    count = 0;
    rowBytes = g.positionwise() ? g.rowBytes(phase) : g.slotBytes;
    partBytes = g.positionwise() ? g.phasePartBytes(phase) : g.partBytes;
    if (lines <= 0) return;
    // Results of a line, then of what lies between lines.
    const auto fillLine = [&](int64_t* to, int64_t image, int64_t line, int64_t width) {
      const int64_t outY = y.outOrigin + (part.begin + line) * y.outStep;
      const int64_t first =
          (((part.firstImage + image) * g.outHeight + outY) * g.outWidth + x.outOrigin) *
          g.outChannels;
      const int64_t step = x.outStep * g.outChannels;
      for (int64_t i = 0; i < x.size; i++) to[i] = first + i * step;
      for (int64_t i = x.size; i < width; i++) to[i] = -1;
    };
    if (g.positionwise()) {
      int64_t* at = places;
      for (int64_t image = 0; image < part.images; image++)
        for (int64_t line = 0; line < lines; line++, at += x.size)
          fillLine(at, image, line, x.size);
      count = ceilDiv(at - places, kSide);
      for (int64_t i = at - places; i < count * kSide; i++) places[i] = -1;
      const int64_t first = g.phaseAt(phase);
      for (int64_t i = 0; i < count; i++) starts[i] = first + i * kSide * rowBytes;
      return;
    }
    const int64_t top = g.form == Form::source ? part.begin : 0;
    const int64_t groupBytes =
        g.form == Form::source ? group * g.groupIn * int64_t(sizeof(uint16_t)) : 0;
    for (int64_t image = 0; image < part.images; image++) {
      const int64_t first = (image * g.imageLines + top) * g.pitch;
      if (!g.byLines) {
        int64_t* at = places + count * kSide;
        const int64_t tiles = g.tilesOf(lines, x.size);
        for (int64_t line = 0; line < lines; line++) {
          const int64_t width = line + 1 < lines ? g.pitch : tiles * kSide - line * g.pitch;
          fillLine(at + line * g.pitch, image, line, width);
        }
        for (int64_t i = 0; i < tiles; i++)
          starts[count++] = (first + i * kSide) * g.slotBytes + groupBytes;
        if (g.form == Form::source) keepInside(g);
        continue;
      }
      const int64_t tiles = ceilDiv(x.size, kSide);
      for (int64_t line = 0; line < lines; line++) {
        fillLine(places + count * kSide, image, line, tiles * kSide);
        for (int64_t i = 0; i < tiles; i++)
          starts[count++] = (first + line * g.pitch + i * kSide) * g.slotBytes + groupBytes;
      }
    }
  }

 private:
  /// Moves the last tile back where it would read what lies behind the source.
  void keepInside(const TilePlan& g) {
    const int64_t last = (g.sourceHeight * g.sourceWidth - kSide) * g.slotBytes;
    const int64_t start = starts[count - 1] / g.slotBytes * g.slotBytes;
    if (start <= last) return;
    starts[count - 1] -= start - last;
    int64_t* rows = places + (count - 1) * kSide;
    for (int64_t i = kSide - 1, by = (start - last) / g.slotBytes; i >= 0; i--)
      rows[i] = i < by ? -1 : rows[i - by];
  }
};

/// The offsets of the steps of K of a phase, in bytes.
inline void describeSteps(const TilePlan& g, int64_t phase, int32_t* offsets) {
  if (g.positionwise()) {
    for (int64_t k = 0; k < g.steps(phase); k++) offsets[k] = int32_t(k * kLineBytes);
    return;
  }
  const conv::Axis &y = g.axisY(phase), &x = g.axisX(phase);
  const int64_t lines = g.partImages * g.imageLines;
  for (int64_t block = 0; block < g.channelBlocks; block++)
    for (int64_t ty = 0; ty < y.taps; ty++)
      for (int64_t tx = 0; tx < x.taps; tx++) {
        const int64_t atY = y.offset(ty), atX = x.offset(tx);
        const int64_t image = g.windowY.imageOf(atY) * g.windowX.images() + g.windowX.imageOf(atX);
        const int64_t slot =
            (image * lines + g.windowY.placeOf(atY)) * g.pitch + g.windowX.placeOf(atX);
        *offsets++ = int32_t(slot * g.slotBytes + block * g.blockBytes);
      }
}

}  // namespace figment::FIGMENT_ISA::tiles::implicit
