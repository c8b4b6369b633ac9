#include "unfold.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPiece = 8;     ///< elements that a thread writes at once
constexpr int kTogether = 4;  ///< taps of a line whose loads are under way together

/// Where a column's tap moves to, and the channel that it reads.
struct Column {
  int32_t shiftY, shiftX, channel;
};
FIGMENT_DEVICE Column columnOf(const Unfolding& u, int32_t column) {
  const int32_t taps = u.reach.taps;
  const int32_t tap = u.order == Order::tapFirst ? column / u.channels : column % taps;
  const int32_t channel = u.order == Order::tapFirst ? column % u.channels : column / taps;
  return {tap / u.reach.tapsX * u.reach.y.tapStep, tap % u.reach.tapsX * u.reach.x.tapStep,
          channel};
}

template <class T>
FIGMENT_DEVICE void storePiece(const Global<T>& to, int64_t at, const T (&piece)[kPiece]) {
  if constexpr (sizeof(T) == 4) {
    to.store(at, make_uint4(piece[0], piece[1], piece[2], piece[3]));
    to.store(at + 4, make_uint4(piece[4], piece[5], piece[6], piece[7]));
  } else {
    uint32_t words[4];
    FIGMENT_UNROLL
    for (int i = 0; i < 4; i++)
      words[i] = uint32_t(piece[2 * i]) | uint32_t(piece[2 * i + 1]) << 16;
    to.store(at, make_uint4(words[0], words[1], words[2], words[3]));
  }
}

/// T: bits of an element.
template <class T>
FIGMENT_KERNEL(kThreads)
unfoldKernel(Global<const T> from, Global<T> to, FIGMENT_GRID_CONSTANT const Unfolding u,
             int32_t columns, Divisor pieces) {
  FIGMENT_DYNAMIC_SHARED(shared);
  const auto shiftsY = shared.template view<int32_t>(0, columns);
  const auto shiftsX = shared.template view<int32_t>(columns * 4, columns);
  const auto channels = shared.template view<int32_t>(columns * 8, columns);
  for (int32_t i = int32_t(threadIdx.x); i < columns; i += kThreads) {
    const Column column = columnOf(u, i);
    shiftsY[i] = column.shiftY;
    shiftsX[i] = column.shiftX;
    channels[i] = column.channel;
  }
  __syncthreads();
  const uint32_t count = uint32_t(u.reach.positions) * uint32_t(u.pitch / kPiece);
  for (uint32_t e = uint32_t(threadInGrid()); e < count; e += uint32_t(threadsOfGrid())) {
    const uint32_t row = pieces.quotient(e);
    const int32_t first = int32_t(pieces.rest(e, row)) * kPiece;
    T piece[kPiece];
    const uint32_t image = u.reach.area.quotient(row), rest = u.reach.area.rest(row, image);
    const uint32_t y = u.reach.width.quotient(rest), x = u.reach.width.rest(rest, y);
    int64_t at[kPiece];  // before any is loaded, so that all are under way together
    FIGMENT_UNROLL
    for (int i = 0; i < kPiece; i++) {
      const int32_t column = min(first + i, columns - 1);
      const int32_t fromY = u.reach.y.source(int32_t(y), shiftsY[column]);
      const int32_t fromX = u.reach.x.source(int32_t(x), shiftsX[column]);
      const uint32_t line = image * uint32_t(u.reach.y.sources) + uint32_t(fromY);
      const uint32_t pixel = line * uint32_t(u.reach.x.sources) + uint32_t(fromX);
      const bool there = first + i < columns && fromY >= 0 && fromX >= 0;
      at[i] = there ? int64_t(pixel) * u.channels + channels[column] : -1;
    }
    FIGMENT_UNROLL
    for (int i = 0; i < kPiece; i++) piece[i] = at[i] >= 0 ? T(from[at[i]]) : T(0);
    storePiece(to, int64_t(row) * u.pitch + first, piece);
  }
}

template <class T>
void unfoldAs(Launcher& launcher, const Unfolding& u, const Operand& source, std::byte* to) {
  const int32_t columns = u.columns(), pieces = u.pitch / kPiece;
  launch<unfoldKernel<T>>(launcher, gridFor(launcher, u.reach.positions * pieces, kThreads),
                          kThreads, size_t(columns) * 3 * sizeof(int32_t), viewOf<const T>(source),
                          Global<T>(reinterpret_cast<T*>(to), u.reach.positions * u.pitch), u,
                          columns, Divisor(pieces));
}

FIGMENT_KERNEL(kThreads)
foldKernel(Global<const float> from, FIGMENT_GRID_CONSTANT const Folding f,
           Epilogue<float> epilogue) {
  const Reach& reach = f.reach;
  // From a channel's row to the next one's, and from a tap's.
  const int64_t channelStep = f.columns * (f.order == Order::tapFirst ? 1 : reach.taps);
  const int64_t tapStep = f.columns * (f.order == Order::tapFirst ? f.channels : 1);
  for (int64_t e = threadInGrid(); e < reach.positions; e += threadsOfGrid()) {
    const uint32_t image = reach.area.quotient(uint32_t(e));
    const uint32_t rest = reach.area.rest(uint32_t(e), image);
    const uint32_t y = reach.width.quotient(rest), x = reach.width.rest(rest, y);
    float sums[kMostFew] = {};
    for (int32_t u = 0; u * reach.tapsX < reach.taps; u++) {
      const int32_t fromY = reach.y.source(int32_t(y), u * reach.y.tapStep);
      if (fromY < 0) continue;
      const int64_t line = (int64_t(image) * reach.y.sources + fromY) * reach.x.sources;
      for (int32_t first = 0; first < reach.tapsX; first += kTogether) {
        float more[kTogether][kMostFew];
        FIGMENT_UNROLL
        for (int t = 0; t < kTogether; t++) {
          const int32_t v = first + t;
          const int32_t fromX = reach.x.source(int32_t(x), v * reach.x.tapStep);
          const bool there = v < reach.tapsX && fromX >= 0;
          const int64_t at = (u * reach.tapsX + v) * tapStep + line + fromX;
          FIGMENT_UNROLL
          for (int32_t i = 0; i < kMostFew; i++)
            more[t][i] = there && i < f.channels ? float(from[at + i * channelStep]) : 0.0f;
        }
        FIGMENT_UNROLL
        for (int t = 0; t < kTogether; t++) {
          FIGMENT_UNROLL
          for (int32_t i = 0; i < kMostFew; i++) sums[i] += more[t][i];
        }
      }
    }
    FIGMENT_UNROLL
    for (int32_t i = 0; i < kMostFew; i++)
      if (i < f.channels) epilogue.store(e * f.channels + i, i, sums[i]);
  }
}

}  // namespace

void unfold(Launcher& launcher, const Unfolding& unfolding, const Operand& source, std::byte* to) {
  (formatBytes(source.format) == 4 ? unfoldAs<uint32_t> : unfoldAs<uint16_t>)(launcher, unfolding,
                                                                              source, to);
}

void fold(Launcher& launcher, const Folding& folding, const float* matrix,
          const Epilogue<float>& epilogue) {
  const int64_t rows = int64_t(folding.reach.taps) * folding.channels;
  launch<foldKernel>(launcher, gridFor(launcher, folding.reach.positions, kThreads), kThreads, 0,
                     Global<const float>(matrix, rows * folding.columns), folding, epilogue);
}

}  // namespace figment::cuda
