// Which taps of an upfirdn filter meet an element of the image, along one axis. Position i of the
// result sees tap k at i·down + k − padLo of the upsampled image, which holds an element of the
// image where up divides that and a zero elsewhere.
#pragma once

#include "../everywhere.h"

namespace figment::upfirdn {

/// Taps first, first + up, … (`count` of them) meet elements at, at + 1, … of the image.
struct Taps {
  int64_t first, at, count;
};

struct Axis {
  int64_t in, taps, up, down, padLo;

  FIGMENT_EVERYWHERE Taps of(int64_t i) const {
    const int64_t origin = i * down - padLo;  // where tap 0 lies
    // The first tap that meets an element, which must not lie before the image.
    const int64_t past = origin > 0 ? origin : 0;
    const int64_t at = (past + up - 1) / up;
    const int64_t first = at * up - origin;
    if (first >= taps || at >= in) return {0, 0, 0};
    const int64_t met = (taps - 1 - first) / up + 1, left = in - at;
    return {first, at, met < left ? met : left};
  }
};

template <class P>
FIGMENT_EVERYWHERE Axis verticalAxis(const P& p) {
  return {p.h, p.kh, p.up[0], p.down[0], p.padLo[0]};
}
template <class P>
FIGMENT_EVERYWHERE Axis horizontalAxis(const P& p) {
  return {p.w, p.kw, p.up[1], p.down[1], p.padLo[1]};
}

}  // namespace figment::upfirdn
