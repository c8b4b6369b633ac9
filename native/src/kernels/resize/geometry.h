// Index arithmetic of nearest-neighbour resizing and average pooling along one axis. Gradients are
// written as gathers over these ranges, so that each output has one writer and a fixed order.
#pragma once

#include <cstdint>

#include "../everywhere.h"

namespace figment::resize {

/// Half-open range of positions.
struct Range {
  int64_t begin, end;
};

/// The source of output i when `in` positions become `out`.
FIGMENT_EVERYWHERE int64_t nearestSource(int64_t i, int64_t in, int64_t out) {
  return i * in / out;
}

/// The outputs whose source is i.
FIGMENT_EVERYWHERE Range nearestTargets(int64_t i, int64_t in, int64_t out) {
  return {(i * out + in - 1) / in, ((i + 1) * out + in - 1) / in};
}

/// The inputs under window i, without padding.
FIGMENT_EVERYWHERE Range windowInputs(int64_t i, int64_t in, int64_t kernel, int64_t stride,
                                      int64_t pad) {
  const int64_t begin = i * stride - pad;
  const int64_t end = begin + kernel;
  return {begin < 0 ? 0 : begin, end > in ? in : end};
}

/// The windows that cover input i.
FIGMENT_EVERYWHERE Range windowsOver(int64_t i, int64_t out, int64_t kernel, int64_t stride,
                                     int64_t pad) {
  const int64_t past = i + pad;  // window o covers [o * stride, o * stride + kernel) of these
  const int64_t begin = past < kernel ? 0 : (past - kernel) / stride + 1;
  const int64_t end = past / stride + 1;
  return {begin, end > out ? out : end};
}

}  // namespace figment::resize
