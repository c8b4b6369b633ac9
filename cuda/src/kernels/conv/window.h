// Which positions of the image and of the result a tap of a convolution joins.
#pragma once

#include "../../device/platform.h"
#include "kernels/params/conv2d.generated.h"
#include "kernels/params/conv2dInputGrad.generated.h"
#include "kernels/params/conv2dWeightGrad.generated.h"

namespace figment::cuda {

/// Index along `axis` (0 height, 1 width) of the image that output position `at` reads through tap
/// `tap`, or -1 in the padding.
template <class P>
FIGMENT_DEVICE int64_t sourceOf(const P& p, int axis, int64_t at, int64_t tap) {
  const int64_t i = at * p.stride[axis] - p.padLo[axis] + tap * p.dilation[axis];
  return i >= 0 && i < (axis == 0 ? p.h : p.w) ? i : -1;
}
/// Output position that reads image index `i` through tap `tap`, or -1 when there is none.
template <class P>
FIGMENT_DEVICE int64_t readerOf(const P& p, int axis, int64_t i, int64_t tap) {
  const int64_t scaled = i + p.padLo[axis] - tap * p.dilation[axis];
  if (scaled < 0 || scaled % p.stride[axis] != 0) return -1;
  const int64_t at = scaled / p.stride[axis];
  return at < (axis == 0 ? p.ho : p.wo) ? at : -1;
}

}  // namespace figment::cuda
