// Blocked transposition of elements of 1, 2, 4 or 8 bytes.
#include "transpose.h"

#include <cstring>

namespace figment::elementwise {
namespace {

constexpr int kBlock = 16;  // 16 four-byte elements fill a cache line
constexpr int kStrip = 64;  // rows walked together: neighbouring lines of each input column

/// out[row * outStride + column] = in[column * inStride + row] for one block.
template <class T>
void transposeBlock(const T* in, int64_t inStride, T* out, int64_t outStride, int rows,
                    int columns) {
  T staged[kBlock][kBlock];
  if (rows == kBlock && columns == kBlock) {
    for (int c = 0; c < kBlock; c++) std::memcpy(staged[c], in + c * inStride, sizeof staged[c]);
    for (int r = 0; r < kBlock; r++) {
      T line[kBlock];
      for (int c = 0; c < kBlock; c++) line[c] = staged[c][r];
      std::memcpy(out + r * outStride, line, sizeof line);
    }
    return;
  }
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < columns; c++) out[r * outStride + c] = in[c * inStride + r];
}

/// The two exchanged dimensions and the others around them.
struct Exchange {
  int64_t rows, columns;        ///< rows: contiguous in the input; columns: in the output
  int64_t inStride, outStride;  ///< of a column in the input, of a row in the output
  int outerRank = 0;
  int64_t outerCount = 1;
  int64_t dims[kMaxRank], inStrides[kMaxRank], outStrides[kMaxRank];
};

template <class T>
void run(const OpCall& call, Context& context, const Exchange& x) {
  const int64_t strips = (x.rows + kStrip - 1) / kStrip;
  constexpr int64_t kGrainElements = 1 << 15;
  const int64_t grain = kGrainElements / (kStrip * x.columns) + 1;
  context.parallelFor(x.outerCount * strips, grain, [&](int64_t begin, int64_t stop, int) {
    for (int64_t unit = begin; unit < stop; unit++) {
      const T* in = call.in[0].as<T>();
      T* out = call.out[0].as<T>();
      int64_t rest = unit / strips;
      for (int d = x.outerRank - 1; d >= 0; d--) {
        in += rest % x.dims[d] * x.inStrides[d];
        out += rest % x.dims[d] * x.outStrides[d];
        rest /= x.dims[d];
      }
      const int64_t first = unit % strips * kStrip;
      const int64_t end = first + kStrip < x.rows ? first + kStrip : x.rows;
      for (int64_t column = 0; column < x.columns; column += kBlock) {
        const int columns = int(x.columns - column < kBlock ? x.columns - column : kBlock);
        for (int64_t row = first; row < end; row += kBlock) {
          const int rows = int(end - row < kBlock ? end - row : kBlock);
          transposeBlock(in + column * x.inStride + row, x.inStride,
                         out + row * x.outStride + column, x.outStride, rows, columns);
        }
      }
    }
  });
}

}  // namespace

bool transposeCopy(const OpCall& call, Context& context, const Space& space) {
  constexpr int64_t kLeast = 4;  // shorter sides do as well row by row
  const int64_t* in = space.strides[0];
  const int64_t* out = space.strides[1];
  const int last = space.rank - 1;
  if (space.rank < 2 || out[last] != 1 || in[last] <= 1 || space.dims[last] < kLeast) return false;
  Exchange x;
  int fast = -1;
  for (int d = 0; d < last; d++)
    if (in[d] == 1 && space.dims[d] >= kLeast) fast = d;
  if (fast < 0) return false;
  x.rows = space.dims[fast];
  x.columns = space.dims[last];
  x.inStride = in[last];
  x.outStride = out[fast];
  for (int d = 0; d < last; d++) {
    if (d == fast) continue;
    x.dims[x.outerRank] = space.dims[d];
    x.inStrides[x.outerRank] = in[d];
    x.outStrides[x.outerRank++] = out[d];
    x.outerCount *= space.dims[d];
  }
  switch (formatBytes(call.in[0].format)) {
    case 1:
      run<uint8_t>(call, context, x);
      return true;
    case 2:
      run<uint16_t>(call, context, x);
      return true;
    case 4:
      run<uint32_t>(call, context, x);
      return true;
    default:
      run<uint64_t>(call, context, x);
      return true;
  }
}

}  // namespace figment::elementwise
