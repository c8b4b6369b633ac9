// The loops of a convolution over matrix tiles. A block of sums takes all of K at once: its rows
// stay in the first-level cache for all columns, which stream past it from the second. While the
// next block is being multiplied, a finished one gets its scale, bias, activation, addend and
// format, a row at each step of K, by the units of the processor that tiles leave idle. Include
// only from files compiled for one instruction set.
#pragma once

#include "kernels/conv/tile_weights.inl.h"
#include "kernels/gemm/split_tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles::implicit {

constexpr int64_t kSumsOfTile = kSide * kSide;
/// Sums of a turn.
inline int64_t turnSums(const TilePlan& g) { return g.turnTiles() * kColumnTiles * kSumsOfTile; }

/// What is done between the steps of a product: finishes sums and stores them, row by row, and
/// brings closer what is read next.
template <class Tiles>
class Finisher {
 public:
  /// How far that has come. Loops over steps keep it in registers: a store between steps holds up
  /// all later loads of tiles whose addresses have the same last 12 bits until the products before
  /// it are done.
  class Progress {
    friend Finisher;
    const int64_t* place = nullptr;  ///< of the next row
    const float* sums = nullptr;
    int64_t wait = 1;  ///< steps
    const std::byte *ahead = nullptr, *runEnd = nullptr;
  };

  explicit Finisher(const TilePlan& g)
      : out_(g.out), addend_(g.epilogue.addend), activation_(g.epilogue.activation) {}
  Finisher(const Finisher&) = delete;
  Finisher& operator=(const Finisher&) = delete;

  /// Takes on `sums`: `rows` rows whose result, from channel `channel` on, begins at places[row],
  /// or is not wanted where that is negative. Some of them are finished in each of `steps` steps.
  void begin(const float* sums, const int64_t* places, int64_t rows, int64_t channel,
             int64_t columns, int columnTiles, const ColumnFloats& floats, int exponent,
             int64_t steps) {
    progress_.place = places;
    progress_.sums = sums;
    end_ = places + rows;
    channel_ = channel;
    columns_ = columns;
    width_ = columnTiles * kSide;
    floats_ = floats;
    rate_ = ceilDiv(rows, larger(steps, 1));
    progress_.wait = pace_ = larger(steps / larger(rows, 1), 1);
    // In two steps, because the power may be none that f32 has.
    power_[0] = split::powerOfTwo(exponent / 2);
    power_[1] = split::powerOfTwo(exponent - exponent / 2);
    const bool plain = columns == kPanelColumns && activation_ == kNoActivation;
    plainBf16_ =
        plain && out_.format == Format::bf16 && exponent == 0 && !floats.scale && !addend_.given();
    plainF32_ = plain && out_.format == Format::f32 && addend_.single();
  }
  /// Brings memory into the second-level cache within `steps` steps.
  void bring(const Runs& runs, int64_t steps) {
    progress_.ahead = runs.from;
    progress_.runEnd = runs.from + runs.bytes;
    runStep_ = runs.step;
    gap_ = runs.step - runs.bytes;
    aheadEnd_ = progress_.runEnd + (runs.count - 1) * runs.step;
    aheadLines_ = ceilDiv(ceilDiv(runs.bytes, kLineBytes) * runs.count, larger(steps, 1));
  }

  Progress progress() const { return progress_; }
  void keep(const Progress& progress) { progress_ = progress; }
  FIGMENT_INLINE void advance(Progress& progress) const {
    if (progress.ahead < aheadEnd_)
      for (int64_t i = 0; i < aheadLines_; i++) {
        __builtin_prefetch(progress.ahead, 0, 2);
        progress.ahead += kLineBytes;
        if (progress.ahead < progress.runEnd) continue;
        progress.ahead = progress.runEnd + gap_;
        progress.runEnd += runStep_;
      }
    if (progress.place == end_ || --progress.wait > 0) return;
    progress.wait = pace_;
    const int64_t* until = smaller(end_ - progress.place, rate_) + progress.place;
    while (progress.place < until) finishNext(progress);
  }
  FIGMENT_INLINE void finish() {
    while (progress_.place < end_) finishNext(progress_);
  }

 private:
  FIGMENT_INLINE void finishNext(Progress& progress) const {
    const int64_t place = *progress.place++;
    const float* sums = progress.sums;
    progress.sums += width_;
    if (place < 0) return;
    if (plainBf16_)
      finishBf16(numbersAt(out_.data) + place + channel_, sums);
    else if (plainF32_)
      finishF32(out_.floats() + place + channel_, sums);
    else
      finishRow(out_ + (place + channel_), sums);
  }

  /// What most rows are: bf16, with nothing but a bias.
  FIGMENT_INLINE void finishBf16(uint16_t* to, const float* sums) const {
    for (int64_t i = 0; i < kPanelColumns; i += 2 * kLanes) {
      F32 low = F32::load(sums + i), high = F32::load(sums + i + kLanes);
      if (const float* bias = floats_.bias) {
        low += F32::load(bias + i);
        high += F32::load(bias + i + kLanes);
      }
      Tiles::storeBf16(to + i, low, high);
    }
  }
  /// The same of f32, to which such numbers may be added.
  FIGMENT_INLINE void finishF32(float* to, const float* sums) const {
    const float* added = addend_.floatsAt(to);
    for (int64_t i = 0; i < kPanelColumns; i += kLanes) {
      const F32 x = applied(sums, i);
      (added ? x + F32::load(added + i) : x).store(to + i);
    }
  }

  FIGMENT_INLINE F32 applied(const float* sums, int64_t column) const {
    const F32 x = F32::load(sums + column) * F32::broadcast(power_[0]) * F32::broadcast(power_[1]);
    return floats_.applied(x, column);
  }
  [[gnu::noinline]] void finishRow(Results to, const float* sums) const {
    float row[kPanelColumns];
    for (int64_t i = 0; i < width_; i += kLanes) {
      const F32 x = applied(sums, i);
      (activation_ == kNoActivation ? x : gemm::activate(x, activation_)).store(row + i);
    }
    if (addend_.given()) gemm::finishRow(row, columns_, {}, kNoActivation, addend_.at(to.data));
    gemm::narrow(to, row, columns_);
  }

  const Results out_;
  const Addend addend_;
  const int activation_;
  const int64_t* end_ = nullptr;
  int64_t channel_ = 0, columns_ = 0;
  int64_t width_ = 0;            ///< of a row of sums
  int64_t rate_ = 1, pace_ = 1;  ///< rows at a time, once in so many steps
  ColumnFloats floats_;
  const std::byte* aheadEnd_ = nullptr;
  int64_t aheadLines_ = 0;  ///< a step
  int64_t gap_ = 0, runStep_ = 0;
  Progress progress_;
  float power_[2] = {1, 1};
  bool plainBf16_ = false, plainF32_ = false;
};

/// Tiles of rows; the numbers of parts are so far apart.
struct RowTiles {
  const std::byte* at[kTallRowTiles];
  int64_t rowBytes, partBytes;
};

/// Calls f.operator()<0>(), … <kCount - 1>().
template <int kCount, class F>
FIGMENT_INLINE void eachTile(F&& f) {
  [&]<int... kAt>(std::integer_sequence<int, kAt...>) { (f.template operator()<kAt>(), ...); }
  (std::make_integer_sequence<int, kCount>{});
}

/// Where tile `tile` of a block of sums lies, whose rows are as long as kColumns tiles.
template <int kColumns>
constexpr int64_t tilePlace(int tile) {
  return tile / kColumns * (kSumsOfTile * kColumns) + tile % kColumns * kSide;
}
template <int kColumns>
constexpr int64_t kSumBytes = kColumns* kSide* int64_t(sizeof(float));

/// Sums of a block that are still in tiles 0, 1, …: they are stored when the first factors of the
/// next block are loaded, because loads behind the stores may wait for the sums.
class HeldSums {
 public:
  template <class Tiles>
  FIGMENT_INLINE void store(Tiles& tiles) {
    if (columns_ == 1)
      storeRows<1>(tiles);
    else
      storeRows<2>(tiles);
    count_ = 0;
  }
  void hold(float* to, int rows, int columns) {
    to_ = to;
    count_ = rows * columns;
    columns_ = columns;
  }
  int count() const { return count_; }

 private:
  template <int kColumns, class Tiles>
  FIGMENT_INLINE void storeRows(Tiles& tiles) const {
    eachTile<kTallRowTiles * kColumns>([&]<int kAt>() {
      if (kAt < count_)
        tiles.template store<kAt>(to_ + tilePlace<kColumns>(kAt), kSumBytes<kColumns>);
    });
  }

  float* to_ = nullptr;
  int count_ = 0, columns_ = 1;
};

/// The factors of a block of sums in tiles 4 to 7, or 6 and 7, and their products, which go to the
/// sums in tiles 0, 1, …, row by row.
template <int kRows, int kColumns, class Tiles>
struct Block {
  static constexpr bool kTall = kRows == kTallRowTiles;
  static constexpr int kFirstFactor = kTall ? 6 : 4;

  Tiles& tiles;
  const RowTiles a;

  FIGMENT_INLINE void loadRows(int64_t offset) const {
    tiles.template load<4>(a.at[0] + offset, a.rowBytes);
    if constexpr (kRows == 2) tiles.template load<5>(a.at[1] + offset, a.rowBytes);
  }
  FIGMENT_INLINE void loadColumns(const uint16_t* b) const {
    tiles.template load<6>(b, kRowBytes);
    if constexpr (kColumns == 2) tiles.template load<7>(b + kTile, kRowBytes);
  }
  FIGMENT_INLINE void multiply() const {
    tiles.template dot<0, 4, 6>();
    if constexpr (kColumns == 2) tiles.template dot<1, 4, 7>();
    multiplyLower();
  }
  FIGMENT_INLINE void multiplyLower() const {
    if constexpr (kRows == 2) {
      tiles.template dot<kColumns, 5, 6>();
      if constexpr (kColumns == 2) tiles.template dot<3, 5, 7>();
    }
  }
  /// A step of K; begin() comes when its first factors are loaded. Each column passes rows that
  /// stay in the first-level cache.
  template <class Begin>
  FIGMENT_INLINE void step(int64_t offset, const uint16_t* b, Begin&& begin) const {
    if constexpr (kTall) return tallStep(offset, b, begin);
    tiles.template load<4>(a.at[0] + offset, a.rowBytes);
    tiles.template stream<6>(b, kRowBytes);
    if constexpr (kColumns == 2) tiles.template stream<7>(b + kTile, kRowBytes);
    begin();
    tiles.template dot<0, 4, 6>();
    if constexpr (kRows == 2) tiles.template load<5>(a.at[1] + offset, a.rowBytes);
    if constexpr (kColumns == 2) tiles.template dot<1, 4, 7>();
    multiplyLower();
  }
  /// A row and a column at a time: neighbouring products share one of them.
  template <class Begin>
  FIGMENT_INLINE void tallStep(int64_t offset, const uint16_t* b, Begin&& begin) const {
    const auto loadRow = [&](int row) __attribute__((always_inline)) {
      tiles.template load<7>(a.at[row] + offset, a.rowBytes);
    };
    const auto loadColumn = [&](int column) __attribute__((always_inline)) {
      tiles.template load<6>(b + column * kTile, kRowBytes);
    };
    loadColumn(0);
    loadRow(0);
    begin();
    tiles.template dot<0, 7, 6>();
    if constexpr (kColumns == 2) {
      loadColumn(1);
      tiles.template dot<1, 7, 6>();
      loadRow(1);
      tiles.template dot<3, 7, 6>();
      loadColumn(0);
      tiles.template dot<2, 7, 6>();
      loadRow(2);
      tiles.template dot<4, 7, 6>();
      loadColumn(1);
      tiles.template dot<5, 7, 6>();
    } else {
      loadRow(1);
      tiles.template dot<1, 7, 6>();
      loadRow(2);
      tiles.template dot<2, 7, 6>();
    }
  }
  /// The same of factors that are split, in the order of `chain`.
  template <class Begin>
  FIGMENT_INLINE void splitStep(const split::Chain& chain, int64_t offset, const uint16_t* b,
                                Begin&& begin) const {
    split::Term loaded = {-1, -1};
    for (int t = 0; t < chain.count; t++) {
      const split::Term term = chain.terms[t];
      if (term.row != loaded.row) loadRows(offset + term.row * a.partBytes);
      if (term.column != loaded.column) loadColumns(b + term.column * kColumns * kTile);
      if (t == 0) begin();
      loaded = term;
      multiply();
    }
  }
};

/// Adds a cut of K to a block of sums, from zero if it is the first: `steps` (at least one) steps
/// of `bStep` numbers of packed weights each. The sums stay in tiles.
template <int kRows, int kColumns, bool kSplit, class Tiles>
inline void multiplyBlock(Tiles& tiles, HeldSums& held, const split::Chain& chain,
                          const RowTiles& a, const int32_t* offsets, const uint16_t* b,
                          int64_t bStep, int64_t steps, bool first, float* sums,
                          Finisher<Tiles>& finisher) {
  constexpr int kSums = kRows * kColumns;
  const Block<kRows, kColumns, Tiles> block{tiles, a};
  if (held.count() > block.kFirstFactor) held.store(tiles);
  typename Finisher<Tiles>::Progress progress = finisher.progress();
  const auto begin = [&]() __attribute__((always_inline)) {
    held.store(tiles);
    if (first)
      eachTile<kSums>([&]<int kAt>() { tiles.template zero<kAt>(); });
    else
      eachTile<kSums>([&]<int kAt>() {
        tiles.template load<kAt>(sums + tilePlace<kColumns>(kAt), kSumBytes<kColumns>);
      });
  };
  if constexpr (Tiles::kAddsSteps && !kSplit) {
    begin();
    const int64_t share = ceilDiv(steps, kRows * kColumns);
    const auto beside = [&]() __attribute__((always_inline)) {
      for (int64_t k = 0; k < share; k++) finisher.advance(progress);
    };
    const auto place = [offsets](int64_t k) { return int64_t(offsets[k]); };
    eachTile<kRows>([&]<int kRow>() {
      tiles.template addSteps<kRow * kColumns, kColumns>(
          a.at[kRow], a.rowBytes, b, bStep * int64_t(sizeof *b), steps, place, beside);
    });
    finisher.keep(progress);
    held.hold(sums, kRows, kColumns);
    return;
  }
  const auto step = [&](int64_t offset, auto&& before) __attribute__((always_inline)) {
    if constexpr (kSplit)
      block.splitStep(chain, offset, b, before);
    else
      block.step(offset, b, before);
    finisher.advance(progress);
    b += bStep;
  };
  step(offsets[0], begin);
  for (int64_t k = 1; k < steps; k++) step(offsets[k], []() __attribute__((always_inline)){});
  finisher.keep(progress);
  held.hold(sums, kRows, kColumns);
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
    // Results of `count` positions of a line from `begin` on, with what lies between lines.
    const auto fillPlaces = [&](int64_t* to, int64_t stack, int64_t line, int64_t begin,
                                int64_t count) {
      const int64_t image = stack * g.abreast;
      const int64_t images = smaller(g.abreast, part.images - image);
      const int64_t outY = y.outOrigin + (part.begin + line) * y.outStep;
      const int64_t first =
          (((part.firstImage + image) * g.outHeight + outY) * g.outWidth + x.outOrigin) *
          g.outChannels;
      const int64_t step = x.outStep * g.outChannels;
      const int64_t imageStep = g.outHeight * g.outWidth * g.outChannels;
      int64_t at = begin / g.abreast, lane = begin % g.abreast;
      for (int64_t i = 0; i < count; i++) {
        to[i] = at < x.size && lane < images ? first + at * step + lane * imageStep : -1;
        if (++lane < g.abreast) continue;
        lane = 0;
        at++;
      }
    };
    if (g.positionwise()) {
      int64_t* at = places;
      for (int64_t image = 0; image < part.images; image++)
        for (int64_t line = 0; line < lines; line++, at += g.lineRows(phase))
          fillPlaces(at, image, line, 0, g.lineRows(phase));
      count = ceilDiv(at - places, kSide);
      for (int64_t i = at - places; i < count * kSide; i++) places[i] = -1;
      const int64_t first = g.phaseAt(phase);
      for (int64_t i = 0; i < count; i++) starts[i] = first + i * kSide * rowBytes;
      return;
    }
    const int64_t firstLine = g.form == Form::source ? part.begin : 0;
    const int64_t groupBytes =
        g.form == Form::source ? group * g.groupIn * int64_t(sizeof(uint16_t)) : 0;
    for (int64_t stack = 0; stack < ceilDiv(part.images, g.abreast); stack++) {
      const int64_t first = (stack * g.imageLines + firstLine) * g.pitch;
      if (!g.byLines) {
        int64_t* at = places + count * kSide;
        const int64_t tiles = g.tilesOf(lines, x.size);
        for (int64_t line = 0; line < lines; line++) {
          const int64_t width = line + 1 < lines ? g.pitch : tiles * kSide - line * g.pitch;
          fillPlaces(at + line * g.pitch, stack, line, 0, width);
        }
        for (int64_t i = 0; i < tiles; i++)
          starts[count++] = (first + i * kSide) * g.slotBytes + groupBytes;
        if (g.form == Form::source) keepInside(g);
        continue;
      }
      // Tiles of a block lie below each other, where they share most lines.
      const int64_t tiles = ceilDiv(x.size * g.abreast, kSide), together = g.rowTiles();
      for (int64_t top = 0; top < lines; top += together)
        for (int64_t i = 0; i < tiles; i++)
          for (int64_t line = top; line < smaller(top + together, lines); line++) {
            fillPlaces(places + count * kSide, stack, line, i * kSide, kSide);
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
  const int64_t lines = g.stacks() * g.imageLines;
  for (int64_t block = 0; block < g.channelBlocks; block++)
    for (int64_t ty = 0; ty < y.taps; ty++)
      for (int64_t tx = 0; tx < x.taps; tx++) {
        const int64_t atY = y.offset(ty), atX = x.offset(tx);
        const int64_t image = g.windowY.imageOf(atY) * g.windowX.images() + g.windowX.imageOf(atX);
        const int64_t slot =
            (image * lines + g.windowY.placeOf(atY)) * g.pitch + g.windowX.placeOf(atX) * g.abreast;
        *offsets++ = int32_t(slot * g.slotBytes + block * g.blockBytes);
      }
}

}  // namespace figment::FIGMENT_ISA::tiles::implicit
