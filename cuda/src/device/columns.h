// How kernels walk over x[n,rows,c] with the channels of a thread fixed, and sums over rows in two
// stages: blocks leave partial sums, a second kernel adds them up in order. Where slabs begin
// follows from the shape alone, so that results do.
#pragma once

#include "memory.h"
#include "vectors.h"
#include "warp.h"

namespace figment::cuda {

constexpr int kColumnThreads = 256;

/// A block takes a slab of rows of one sample, and at most kColumnThreads vectors of each row.
struct Columns {
  int64_t n, rows, c;
  int vector;      ///< elements of a vector
  int across;      ///< vectors of a row that a block takes
  int down;        ///< rows that a block takes at once
  int64_t chunks;  ///< blocks side by side
  int64_t slabs;   ///< of a sample
  int64_t slabRows;

  /// `perThread`: rows that a thread should have at least.
  Columns(int64_t n, int64_t rows, int64_t c, int vector, int64_t perThread = 8)
      : n(n), rows(rows), c(c), vector(vector) {
    constexpr int64_t kBlocks = 528;  // four for each multiprocessor of the largest GPUs
    const int64_t vectors = c / vector;
    across = int(vectors < kColumnThreads ? vectors : kColumnThreads);
    if (across < 1) across = 1;
    chunks = ceilDiv(vectors, int64_t(across));
    down = kColumnThreads / across;
    const int64_t most = ceilDiv(rows, int64_t(down) * perThread);
    const int64_t few = ceilDiv(kBlocks, n * chunks > 0 ? n * chunks : 1);
    slabs = most < few ? most : few;
    if (slabs < 1) slabs = 1;
    slabRows = ceilDiv(rows, slabs);
    slabs = slabRows > 0 ? ceilDiv(rows, slabRows) : 1;
  }
  int64_t blocks() const { return n * slabs * chunks; }
  Grid grid() const { return blocksFor(blocks()); }
  /// Channels of a block.
  FIGMENT_BOTH int channels() const { return across * vector; }
};

/// A thread's place in Columns.
struct ColumnPlace {
  int64_t sample, slab, chunk;
  int64_t firstRow, lastRow;  ///< of this thread, `down` apart; lastRow is the slab's end
  int64_t channel;            ///< the first
  int localChannel;           ///< in the block's chunk
  bool active;

  /// `block` may be counted from the end.
  FIGMENT_DEVICE ColumnPlace(const Columns& columns, int64_t block) {
    const int t = int(threadIdx.x);
    chunk = block % columns.chunks;
    slab = block / columns.chunks % columns.slabs;
    sample = block / columns.chunks / columns.slabs;
    const int column = t % columns.across, row = t / columns.across;
    localChannel = column * columns.vector;
    channel = chunk * columns.channels() + localChannel;
    active = row < columns.down && channel < columns.c;
    firstRow = slab * columns.slabRows + row;
    lastRow = (slab + 1) * columns.slabRows;
    if (lastRow > columns.rows) lastRow = columns.rows;
  }
  /// The index of this thread's vector in a row.
  FIGMENT_DEVICE int64_t at(const Columns& columns, int64_t row) const {
    return (sample * columns.rows + row) * columns.c + channel;
  }
};

/// Adds up what the rows of threads of a block have, and calls f(channel, sum) for each channel of
/// the block, in some thread. `shared` holds kColumnThreads·N floats; all threads of the block call
/// this.
template <int N, class F>
FIGMENT_DEVICE void sumDown(const Columns& columns, const ColumnPlace& place,
                            const Shared<float>& shared, const float (&values)[N], F&& f) {
  const int t = int(threadIdx.x), across = columns.across;
  __syncthreads();
  FIGMENT_UNROLL
  for (int j = 0; j < N; j++) shared[j * kColumnThreads + t] = values[j];
  __syncthreads();
  for (int i = t; i < across * N; i += kColumnThreads) {
    const int64_t channel = place.chunk * columns.channels() + i % across * N + i / across;
    if (channel >= columns.c) continue;
    const int from = i / across * kColumnThreads + i % across;
    float sum = shared[from];
    FIGMENT_UNROLL_BY(4)
    for (int row = 1; row < columns.down; row++) sum += shared[from + row * across];
    f(channel, sum);
  }
}

constexpr int kSumColumns = 16, kSumLanes = 16;

/// y[o,w] = Σ over k of x[o,k,w], for `outer` times `inner` sums. Where there is a second result,
/// outer is 2 and y[1,·] goes there.
template <class T>
FIGMENT_KERNEL(kSumColumns* kSumLanes)
sumPartialsKernel(int64_t outer, int64_t terms, int64_t inner, Global<const T> x, FloatResults<T> y,
                  FloatResults<T> second) {
  FIGMENT_SHARED(T, shared, kSumColumns * kSumLanes);
  const int64_t tiles = ceilDiv(inner, int64_t(kSumColumns)), block = blockInGrid();
  if (block >= outer * tiles) return;
  const int column = int(threadIdx.x) % kSumColumns, lane = int(threadIdx.x) / kSumColumns;
  const int64_t o = block / tiles, w = block % tiles * kSumColumns + column;
  T sum = 0;
  if (w < inner) {
    FIGMENT_UNROLL_BY(8)
    for (int64_t k = lane; k < terms; k += kSumLanes) sum += x[(o * terms + k) * inner + w];
  }
  shared[int(threadIdx.x)] = sum;
  __syncthreads();
  if (lane > 0 || w >= inner) return;
  for (int other = 1; other < kSumLanes; other++) sum += shared[other * kSumColumns + column];
  if (second && o > 0)
    second.set(w, sum);
  else
    y.set(o * inner + w, sum);
}

template <class T>
void sumPartials(Launcher& launcher, int64_t outer, int64_t terms, int64_t inner, Global<const T> x,
                 const FloatResults<T>& y, const FloatResults<T>& second = {}) {
  launch<sumPartialsKernel<T>>(launcher, blocksFor(outer * ceilDiv(inner, int64_t(kSumColumns))),
                               kSumColumns * kSumLanes, 0, outer, terms, inner, x, y, second);
}

/// Scratch as results in f32, and as what such results are read from.
inline FloatResults<float> scratchResults(const Launcher& launcher, int64_t byteOffset,
                                          int64_t count) {
  return {launcher.scratch() + byteOffset, count, Format::f32};
}

}  // namespace figment::cuda
