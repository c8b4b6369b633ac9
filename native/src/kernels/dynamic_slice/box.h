// What the implementations of dynamicSlice and dynamicUpdateSlice share: where the box lies, and
// its runs of neighbouring elements.
#pragma once

#include "../kernel.h"

namespace figment::dynamic_slice {

/// A box inside a row-major tensor. Its last dimensions, as long as they are whole, are one run.
struct Box {
  int64_t runBytes;           ///< neighbouring bytes in both tensors
  int64_t runs;               ///< how many such runs the box has
  int rank;                   ///< dimensions that count the runs
  int64_t sizes[kMaxRank];    ///< of those dimensions
  int64_t strides[kMaxRank];  ///< bytes between neighbours along them in the whole tensor
  int64_t offset;             ///< byte at which the box starts in the whole tensor

  /// Byte of the whole tensor at which run `index` starts.
  int64_t at(int64_t index) const {
    int64_t byte = offset;
    for (int i = rank - 1; i >= 0; i--) {
      byte += index % sizes[i] * strides[i];
      index /= sizes[i];
    }
    return byte;
  }
};

/// The box of `part`'s extents that starts at `starts`, moved inside `whole` where it would leave
/// it. Neither is empty.
inline Box boxOf(const Operand& whole, const Operand& part, const int32_t* starts) {
  Box box{};
  int64_t stride = int64_t(formatBytes(whole.format));
  box.runBytes = stride;
  box.runs = 1;
  bool joined = true;  // whether the dimensions so far are one run
  int64_t outer[kMaxRank], outerStride[kMaxRank];
  int count = 0;
  for (int i = whole.rank - 1; i >= 0; i--) {
    const int64_t room = whole.dims[i] - part.dims[i];
    const int64_t start = starts[i] < 0 ? 0 : starts[i] > room ? room : starts[i];
    box.offset += start * stride;
    if (joined) {
      box.runBytes *= part.dims[i];
    } else {
      outer[count] = part.dims[i];
      outerStride[count++] = stride;
      box.runs *= part.dims[i];
    }
    joined = joined && room == 0;
    stride *= whole.dims[i];
  }
  box.rank = count;
  for (int i = 0; i < count; i++) {
    box.sizes[i] = outer[count - 1 - i];
    box.strides[i] = outerStride[count - 1 - i];
  }
  return box;
}

}  // namespace figment::dynamic_slice
