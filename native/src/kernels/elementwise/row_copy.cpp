// Rows from one operand to the other in order, their places counted up dimension by dimension.
#include "row_copy.h"

#include <cstring>

namespace figment::elementwise {

bool copyRows(const OpCall& call, Context& context, const Space& space, Block convert) {
  // Shorter rows are cheaper to gather, longer ones tiles share out better.
  constexpr int64_t kLeastBytes = 64, kMostBytes = 64 << 10;
  constexpr int64_t kGrainBytes = 128 << 10;
  const int64_t *in = space.strides[0], *out = space.strides[1];
  const int last = space.rank - 1;
  if (space.rank < 2 || in[last] != 1 || out[last] != 1) return false;
  const int64_t width = int64_t(formatBytes(call.in[0].format));
  const int64_t outWidth = int64_t(formatBytes(call.out[0].format));
  const int64_t length = space.dims[last], bytes = length * width;
  if (bytes < kLeastBytes || bytes > kMostBytes) return false;
  int64_t rows = 1;
  for (int d = 0; d < last; d++) rows *= space.dims[d];
  context.parallelFor(rows, kGrainBytes / bytes, [&](int64_t begin, int64_t end, int) {
    int64_t index[kMaxRank], rest = begin;
    const std::byte* from = call.in[0].as<const std::byte>();
    std::byte* to = call.out[0].as<std::byte>();
    for (int d = last - 1; d >= 0; d--) {
      index[d] = rest % space.dims[d];
      rest /= space.dims[d];
      from += index[d] * in[d] * width;
      to += index[d] * out[d] * outWidth;
    }
    for (int64_t row = begin; row < end; row++) {
      if (convert)
        convert(to, from, nullptr, nullptr, int(length));
      else if (to != from)
        std::memcpy(to, from, size_t(bytes));
      for (int d = last - 1; d >= 0; d--) {
        from += in[d] * width;
        to += out[d] * outWidth;
        if (++index[d] < space.dims[d]) break;
        from -= space.dims[d] * in[d] * width;
        to -= space.dims[d] * out[d] * outWidth;
        index[d] = 0;
      }
    }
  });
  return true;
}

}  // namespace figment::elementwise
