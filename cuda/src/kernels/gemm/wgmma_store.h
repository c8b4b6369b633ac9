// The end of a tile: the sums of a warpgroup, as hopper::multiply leaves them, with scale, bias,
// activation and addend, narrowed and stored. Include from *.sm90a.cu files only.
#pragma once

#include "../../device/hopper.h"
#include "wgmma_work.h"

namespace figment::cuda::wgmma {

/// The vectors of the tile's columns in shared memory, of one warpgroup.
template <int columns>
struct TileVectors {
  static constexpr int kSize = 2 * columns;
  Shared<float> scale, bias;
  explicit FIGMENT_DEVICE TileVectors(const Shared<float>& memory)
      : scale(memory), bias(memory.from(columns)) {}
};

/// Brings them there, by the warpgroup that will read them.
template <int columns>
FIGMENT_DEVICE void loadVectors(const Work& work, const Place& place,
                                const TileVectors<columns>& vectors, int half) {
  hopper::syncThreads(1 + half, hopper::kWarpgroup);  // until all have stored the tile before
  for (int i = threadIdx.x % hopper::kWarpgroup; i < columns; i += hopper::kWarpgroup) {
    const int column = place.column * columns + i;
    const bool exists = column < work.columns;
    if (work.scaled) vectors.scale[i] = exists ? work.scale[column * work.scaleStep] : 0.0f;
    if (work.biased) vectors.bias[i] = exists ? work.bias[column] : 0.0f;
  }
  hopper::syncThreads(1 + half, hopper::kWarpgroup);
}

/// As activated(), with the hardware's exponential: sums of 16-bit factors are no more exact.
FIGMENT_DEVICE float siluFast(float x) { return __fdividef(x, 1.0f + __expf(-x)); }
FIGMENT_DEVICE float activatedFast(float x, int activation) {
  if (activation == kSilu) return siluFast(x);
  if (activation == kRelu) return x < 0.0f ? 0.0f : x;
  return x;
}

/// Two halves of a word, of numbers none of which is NaN.
FIGMENT_DEVICE uint32_t packedNumbers(Format format, float low, float high) {
  return format == Format::bf16 ? packPair<Bf16>(low, high) : packPair<F16>(low, high);
}
/// What becomes of it where one is, so that there is one NaN.
FIGMENT_DEVICE uint32_t withNans(Format format, uint32_t word, float low, float high) {
  const uint32_t nan = format == Format::bf16 ? kNanBf16 : kNanF16;
  if (low != low) word = (word & 0xffff0000u) | nan;
  if (high != high) word = (word & 0xffffu) | nan << 16;
  return word;
}

/// Four lanes with four words each exchange them: word i of lane l becomes word l of lane i.
FIGMENT_DEVICE void transposeQuad(uint32_t (&words)[4]) {
  const int lane = threadIdx.x % 4;
  FIGMENT_UNROLL
  for (int i = 0; i < 4; i += 2) {
    const bool odd = lane & 1;
    const uint32_t got = __shfl_xor_sync(kWholeWarp, odd ? words[i] : words[i + 1], 1);
    words[i] = odd ? got : words[i];
    words[i + 1] = odd ? words[i + 1] : got;
  }
  FIGMENT_UNROLL
  for (int i = 0; i < 2; i++) {
    const bool upper = lane & 2;
    const uint32_t got = __shfl_xor_sync(kWholeWarp, upper ? words[i] : words[i + 2], 2);
    words[i] = upper ? got : words[i];
    words[i + 2] = upper ? words[i + 2] : got;
  }
}

/// Where the elements of a row begin.
FIGMENT_DEVICE int64_t rowOffset(const Work& work, const Place& place, int row) {
  const Results& results = work.results;
  const int64_t at = place.split * results.splitStride + place.batch * results.batchStride;
  if (!results.placed) return at + row * results.rowStride;
  const Phase& phase = phaseOf(work, place);
  const int line = row / phase.window.width;
  const int image = line / phase.window.height;
  return at + phase.first + image * results.imageStride +
         (line - image * phase.window.height) * results.yStride +
         (row - line * phase.window.width) * results.xStride;
}

/// Asks for the tile's part of the addend, so that its products hide the wait for memory.
template <int columns>
FIGMENT_DEVICE void fetchAddend(const Work& work, const Place& place, int half) {
  constexpr int kLine = 32;                        // elements, so that no 128 bytes are left out
  constexpr int kShare = hopper::kWarpgroup / 64;  // threads to a row
  const int thread = threadIdx.x % hopper::kWarpgroup;
  const int row = place.row * kTileRows + half * 64 + thread / kShare;
  if (row >= phaseOf(work, place).rows) return;
  const int64_t at = rowOffset(work, place, row);
  const int first = place.column * columns;
  for (int i = first + thread % kShare * kLine; i < first + columns && i < work.columns;
       i += kShare * kLine)
    work.addend.fetch(at + i);
}

/// A thread's part of one row of thirty-two columns: of every eight, the two at 2·(lane % 4).
/// `sums` are a tile's, from those of the first of the columns and of this row on.
template <int count>
struct Run {
  const float (&sums)[count];
  int first;
  FIGMENT_DEVICE float low(int j) const { return sums[first + 4 * j]; }
  FIGMENT_DEVICE float high(int j) const { return sums[first + 4 * j + 1]; }
};

/// The first `count` of the columns exist.
template <int count>
FIGMENT_DEVICE void storeSingles(float* out, bool wide, int exist, const Run<count>& run) {
  const int q = threadIdx.x % 4;
  FIGMENT_UNROLL
  for (int j = 0; j < 4; j++) {
    const int column = 8 * j + 2 * q;
    if (wide) {
      if (column < exist)
        *reinterpret_cast<float2*>(out + column) = make_float2(run.low(j), run.high(j));
    } else {
      if (column < exist) out[column] = run.low(j);
      if (column + 1 < exist) out[column + 1] = run.high(j);
    }
  }
}
/// All lanes of the warp call it.
template <int count>
FIGMENT_DEVICE void storeHalves(uint16_t* out, Format format, bool wide, int exist,
                                const Run<count>& run) {
  const int q = threadIdx.x % 4;
  uint32_t words[4];
  float any = 0;
  FIGMENT_UNROLL
  for (int j = 0; j < 4; j++) {
    words[j] = packedNumbers(format, run.low(j), run.high(j));
    any += run.low(j) + run.high(j);
  }
  if (any != any) {
    FIGMENT_UNROLL
    for (int j = 0; j < 4; j++) words[j] = withNans(format, words[j], run.low(j), run.high(j));
  }
  if (wide) {
    transposeQuad(words);
    if (8 * q < exist)
      *reinterpret_cast<uint4*>(out + 8 * q) = make_uint4(words[0], words[1], words[2], words[3]);
    return;
  }
  FIGMENT_UNROLL
  for (int j = 0; j < 4; j++) {
    const int column = 8 * j + 2 * q;
    if (column < exist) out[column] = uint16_t(words[j]);
    if (column + 1 < exist) out[column + 1] = uint16_t(words[j] >> 16);
  }
}

/// Adds to a thread's part of one row, as Run has it, the numbers at the four places `from`, each
/// the first of eight columns'. Halves are loaded as four lanes will store them, singles alone.
template <bool inHalves, int count>
FIGMENT_DEVICE void addToRun(const Floats<float>& addend, const int64_t (&from)[4],
                             float (&sums)[count], int first) {
  const int q = threadIdx.x % 4;
  float2 more[4];
  if constexpr (inHalves) {
    const uint4 all = addend.eightHalves(q == 0   ? from[0]
                                         : q == 1 ? from[1]
                                         : q == 2 ? from[2]
                                                  : from[3]);
    uint32_t words[4] = {all.x, all.y, all.z, all.w};
    transposeQuad(words);
    FIGMENT_UNROLL
    for (int j = 0; j < 4; j++) more[j] = addend.halves(words[j]);
  } else {
    FIGMENT_UNROLL
    for (int j = 0; j < 4; j++) more[j] = addend.two(from[j] + 2 * q);
  }
  FIGMENT_UNROLL
  for (int j = 0; j < 4; j++) {
    sums[first + 4 * j] += more[j].x;
    sums[first + 4 * j + 1] += more[j].y;
  }
}
/// Before anything is stored and without a branch, so that many loads are under way together:
/// sums that do not exist get others' addends.
template <int columns, bool inHalves>
FIGMENT_DEVICE void addToSums(const Work& work, const Place& place, float (&sums)[columns / 2],
                              int row) {
  const int last = phaseOf(work, place).rows - 1;
  const int64_t rows[2] = {rowOffset(work, place, row < last ? row : last),
                           rowOffset(work, place, row + 8 < last ? row + 8 : last)};
  FIGMENT_UNROLL
  for (int i = 0; i < columns / 32; i++) {
    FIGMENT_UNROLL
    for (int lower = 0; lower < 2; lower++) {
      int64_t from[4];
      FIGMENT_UNROLL
      for (int j = 0; j < 4; j++) {
        const int column = place.column * columns + i * 32 + j * 8;
        from[j] = rows[lower] + (column < work.columns ? column : 0);
      }
      addToRun<inHalves>(work.addend, from, sums, i * 16 + 2 * lower);
    }
  }
}

/// Scale, bias and activation.
template <int columns>
FIGMENT_DEVICE void finishSums(const Work& work, float (&sums)[columns / 2],
                               const TileVectors<columns>& vectors) {
  if (work.scaled) {
    FIGMENT_UNROLL
    for (int i = 0; i < columns / 8; i++) {
      const float2 by = vectors.scale.template load<float2>(8 * i + 2 * (threadIdx.x % 4));
      sums[4 * i] *= by.x;
      sums[4 * i + 1] *= by.y;
      sums[4 * i + 2] *= by.x;
      sums[4 * i + 3] *= by.y;
    }
  }
  if (work.biased) {
    FIGMENT_UNROLL
    for (int i = 0; i < columns / 8; i++) {
      const float2 add = vectors.bias.template load<float2>(8 * i + 2 * (threadIdx.x % 4));
      sums[4 * i] += add.x;
      sums[4 * i + 1] += add.y;
      sums[4 * i + 2] += add.x;
      sums[4 * i + 3] += add.y;
    }
  }
  if (work.activation == kSilu) {
    FIGMENT_UNROLL
    for (float& sum : sums) sum = siluFast(sum);
  } else if (work.activation == kRelu) {
    FIGMENT_UNROLL
    for (float& sum : sums) sum = sum < 0.0f ? 0.0f : sum;
  }
}

template <int columns>
FIGMENT_DEVICE void storeSums(const Work& work, const Place& place, float (&sums)[columns / 2],
                              int half, const TileVectors<columns>& vectors) {
  finishSums<columns>(work, sums, vectors);
  const Results& results = work.results;
  const int thread = threadIdx.x % hopper::kWarpgroup;
  const int row = place.row * kTileRows + half * 64 + thread / kWarp * 16 + thread % kWarp / 4;
  const int rows = phaseOf(work, place).rows;
  const int64_t offsets[2] = {rowOffset(work, place, row), rowOffset(work, place, row + 8)};
  if (work.added)
    work.addend.inHalves() ? addToSums<columns, true>(work, place, sums, row)
                           : addToSums<columns, false>(work, place, sums, row);
  FIGMENT_UNROLL
  for (int i = 0; i < columns / 32; i++) {
    const int column = place.column * columns + i * 32;
    const int tap = column / kGroup / results.tapGroups;
    const int channel = column - tap * results.tapGroups * kGroup;
    const int exist = column < work.columns ? results.channels - channel : 0;
    FIGMENT_UNROLL
    for (int lower = 0; lower < 2; lower++) {
      const Run<columns / 2> run = {sums, i * 16 + 2 * lower};
      const int64_t at = offsets[lower] + int64_t(tap) * results.channels + channel;
      const int there = row + 8 * lower < rows ? exist : 0;
      if (results.format == Format::f32)
        storeSingles(static_cast<float*>(results.data) + at, results.wide, there, run);
      else
        storeHalves(static_cast<uint16_t*>(results.data) + at, results.format, results.wide, there,
                    run);
    }
  }
}

}  // namespace figment::cuda::wgmma
