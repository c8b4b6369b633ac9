// Where the factors of a product lie. A tile of a factor is `lines` of elements that are neighbours
// in memory; each thread of a block copies kCount vectors of kVector elements, all in one column of
// the tile, kStep lines apart. A loader says, for the vectors at a depth, which elements they are:
//
//   vectors(depth, f)   f(v, there, offset) for each vector, wholly there or not at all
//   elements(depth, f)  f(v, e, there, offset) for each element of each
//
// The lines of WindowRows and MatrixRows are rows (or columns) of the product, along the depth;
// those of TapColumns and WindowColumns are the depth, along rows or columns.
#pragma once

#include "product.h"

namespace figment::cuda {

/// An image that is read through a window: depth, or columns, count taps and channels, the channel
/// fastest.
struct WindowFactor {
  int64_t groupStep = 0, imageStep = 0;
  int32_t rowStep = 0, columnStep = 0;
  int32_t height = 1, width = 1;
  int32_t stepY = 1, stepX = 1, tapStepY = 1, tapStepX = 1;
  Divisor channels;
  int32_t aligned = 0;  ///< vectors lie wholly in one tap, or out, and at multiples of 16 bytes
};
/// A matrix whose rows go along the depth.
struct MatrixFactor {
  int64_t groupStep = 0, rowStep = 0;
  int32_t aligned = 0;
};
/// Matrices, one for each tap, whose rows go across the depth.
struct TapFactor {
  int64_t groupStep = 0, channelStep = 0, tapStepY = 0, tapStepX = 0;
  Divisor channels;
  int32_t aligned = 0;
};

/// Where a thread begins in a tile.
struct Corner {
  int32_t line, column;
};
template <int kLength, int kVector>
FIGMENT_DEVICE Corner cornerOf(int thread) {
  return {thread / (kLength / kVector), thread % (kLength / kVector) * kVector};
}

template <int kVector, int kCount, int kStep>
class WindowRows {
 public:
  using Factor = WindowFactor;

  FIGMENT_DEVICE WindowRows(const Factor& f, const Product&, const Phase& phase, const Task& task,
                            int32_t first, int32_t end, Corner corner)
      : f_(f), tapsX_(phase.tapsX), end_(task.endDepth), column_(corner.column) {
    FIGMENT_UNROLL
    for (int v = 0; v < kCount; v++) {
      const int32_t row = first + corner.line + v * kStep;
      y_[v] = x_[v] = kNowhere;
      base_[v] = 0;
      if (row >= end) continue;
      const Position at = positionOf(phase, uint32_t(row));
      base_[v] = task.group * f.groupStep + at.image * f.imageStep;
      y_[v] = int32_t(at.y) * f.stepY + phase.offsetY;
      x_[v] = int32_t(at.x) * f.stepX + phase.offsetX;
    }
  }
  template <class F>
  FIGMENT_DEVICE void vectors(int32_t depth, F&& f) const {
    each(depth + column_, [&](int v, bool there, int64_t offset) { f(v, there, offset); });
  }
  template <class F>
  FIGMENT_DEVICE void elements(int32_t depth, F&& f) const {
    FIGMENT_UNROLL
    for (int e = 0; e < kVector; e++)
      each(depth + column_ + e, [&](int v, bool there, int64_t offset) { f(v, e, there, offset); });
  }

 private:
  static constexpr int32_t kNowhere = -0x40000000;

  template <class F>
  FIGMENT_DEVICE void each(int32_t depth, F&& f) const {
    const uint32_t tap = f_.channels.quotient(uint32_t(depth));
    const uint32_t channel = f_.channels.rest(uint32_t(depth), tap);
    const uint32_t tapY = tapsX_.quotient(tap), tapX = tapsX_.rest(tap, tapY);
    const int32_t dy = int32_t(tapY) * f_.tapStepY, dx = int32_t(tapX) * f_.tapStepX;
    FIGMENT_UNROLL
    for (int v = 0; v < kCount; v++) {
      const int32_t y = y_[v] + dy, x = x_[v] + dx;
      const bool there =
          depth < end_ && uint32_t(y) < uint32_t(f_.height) && uint32_t(x) < uint32_t(f_.width);
      f(v, there,
        base_[v] + int64_t(y) * f_.rowStep + (int64_t(x) * f_.columnStep + int64_t(channel)));
    }
  }

  const Factor& f_;
  Divisor tapsX_;
  int32_t end_, column_;
  int64_t base_[kCount];
  int32_t y_[kCount], x_[kCount];
};

template <int kVector, int kCount, int kStep>
class MatrixRows {
 public:
  using Factor = MatrixFactor;

  FIGMENT_DEVICE MatrixRows(const Factor& f, const Product&, const Phase&, const Task& task,
                            int32_t first, int32_t end, Corner corner)
      : rowStep_(f.rowStep),
        base_(task.group * f.groupStep + (first + corner.line) * f.rowStep + corner.column),
        rows_(end - first - corner.line),
        end_(task.endDepth - corner.column) {}
  template <class F>
  FIGMENT_DEVICE void vectors(int32_t depth, F&& f) const {
    FIGMENT_UNROLL
    for (int v = 0; v < kCount; v++)
      f(v, depth < end_ && v * kStep < rows_, base_ + v * kStep * rowStep_ + depth);
  }
  template <class F>
  FIGMENT_DEVICE void elements(int32_t depth, F&& f) const {
    FIGMENT_UNROLL
    for (int v = 0; v < kCount; v++) {
      FIGMENT_UNROLL
      for (int e = 0; e < kVector; e++)
        f(v, e, depth + e < end_ && v * kStep < rows_, base_ + v * kStep * rowStep_ + depth + e);
    }
  }

 private:
  int64_t rowStep_, base_;
  int32_t rows_, end_;
};

template <int kVector, int kCount, int kStep>
class TapColumns {
 public:
  using Factor = TapFactor;

  FIGMENT_DEVICE TapColumns(const Factor& f, const Product&, const Phase& phase, const Task& task,
                            int32_t first, int32_t end, Corner corner)
      : f_(f),
        tapsX_(phase.tapsX),
        base_(task.group * f.groupStep + phase.firstTap + first + corner.column),
        line_(corner.line),
        columns_(end - first - corner.column),
        end_(task.endDepth) {}
  template <class F>
  FIGMENT_DEVICE void vectors(int32_t depth, F&& f) const {
    each(depth, [&](int v, bool there, int64_t line) { f(v, there && columns_ > 0, line); });
  }
  template <class F>
  FIGMENT_DEVICE void elements(int32_t depth, F&& f) const {
    each(depth, [&](int v, bool there, int64_t line) {
      FIGMENT_UNROLL
      for (int e = 0; e < kVector; e++) f(v, e, there && e < columns_, line + e);
    });
  }

 private:
  template <class F>
  FIGMENT_DEVICE void each(int32_t depth, F&& f) const {
    FIGMENT_UNROLL
    for (int v = 0; v < kCount; v++) {
      const int32_t at = depth + line_ + v * kStep;
      const uint32_t tap = f_.channels.quotient(uint32_t(at));
      const uint32_t channel = f_.channels.rest(uint32_t(at), tap);
      const uint32_t tapY = tapsX_.quotient(tap), tapX = tapsX_.rest(tap, tapY);
      f(v, at < end_, base_ + channel * f_.channelStep + (tapY * f_.tapStepY + tapX * f_.tapStepX));
    }
  }

  const Factor& f_;
  Divisor tapsX_;
  int64_t base_;
  int32_t line_, columns_, end_;
};

template <int kVector, int kCount, int kStep>
class WindowColumns {
 public:
  using Factor = WindowFactor;

  FIGMENT_DEVICE WindowColumns(const Factor& f, const Product&, const Phase& phase,
                               const Task& task, int32_t first, int32_t end, Corner corner)
      : f_(f),
        phase_(phase),
        base_(task.group * f.groupStep),
        line_(corner.line),
        column_(first + corner.column),
        columns_(end),
        end_(task.endDepth) {
    tap_ = tapOf(column_);
  }
  template <class F>
  FIGMENT_DEVICE void vectors(int32_t depth, F&& f) const {
    FIGMENT_UNROLL
    for (int v = 0; v < kCount; v++) {
      const Line line = lineOf(depth + line_ + v * kStep);
      f(v, line.there && column_ < columns_ && inside(line, tap_), offsetOf(line, tap_));
    }
  }
  template <class F>
  FIGMENT_DEVICE void elements(int32_t depth, F&& f) const {
    Line lines[kCount];
    FIGMENT_UNROLL
    for (int v = 0; v < kCount; v++) lines[v] = lineOf(depth + line_ + v * kStep);
    FIGMENT_UNROLL
    for (int e = 0; e < kVector; e++) {
      const Tap tap = tapOf(column_ + e);
      FIGMENT_UNROLL
      for (int v = 0; v < kCount; v++)
        f(v, e, lines[v].there && column_ + e < columns_ && inside(lines[v], tap),
          offsetOf(lines[v], tap));
    }
  }

 private:
  struct Tap {
    int32_t y, x, channel;
  };
  struct Line {
    int64_t base;
    int32_t y, x;
    bool there;
  };
  FIGMENT_DEVICE Tap tapOf(int32_t column) const {
    const uint32_t tap = f_.channels.quotient(uint32_t(column));
    const uint32_t y = phase_.tapsX.quotient(tap), x = phase_.tapsX.rest(tap, y);
    return {int32_t(y) * f_.tapStepY, int32_t(x) * f_.tapStepX,
            int32_t(f_.channels.rest(uint32_t(column), tap))};
  }
  FIGMENT_DEVICE Line lineOf(int32_t depth) const {
    const Position at = positionOf(phase_, uint32_t(depth));
    return {base_ + at.image * f_.imageStep, int32_t(at.y) * f_.stepY + phase_.offsetY,
            int32_t(at.x) * f_.stepX + phase_.offsetX, depth < end_};
  }
  FIGMENT_DEVICE bool inside(const Line& line, const Tap& tap) const {
    return uint32_t(line.y + tap.y) < uint32_t(f_.height) &&
           uint32_t(line.x + tap.x) < uint32_t(f_.width);
  }
  FIGMENT_DEVICE int64_t offsetOf(const Line& line, const Tap& tap) const {
    return line.base + int64_t(line.y + tap.y) * f_.rowStep +
           (int64_t(line.x + tap.x) * f_.columnStep + tap.channel);
  }

  const Factor& f_;
  const Phase& phase_;
  int64_t base_;
  int32_t line_, column_, columns_, end_;
  Tap tap_;
};

}  // namespace figment::cuda
