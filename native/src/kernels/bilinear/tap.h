// Where bilinear resizing reads along one axis: position i of `out` lies at `place` of `in` and is
// (1 − weight)·x[at] + weight·x[next]. With half-pixel centres place = (i + ½)·in/out − ½, never
// before the first centre; with aligned corners place = i·(in − 1)/(out − 1).
#pragma once

#include <cstdint>

#include "../everywhere.h"

namespace figment::bilinear {

struct Tap {
  int64_t at, next;
  double weight;  ///< of `next`
};

FIGMENT_EVERYWHERE Tap bilinearTap(int64_t i, int64_t in, int64_t out, bool alignCorners) {
  double place;
  if (alignCorners)
    place = out > 1 ? double(i) * double(in - 1) / double(out - 1) : 0.0;
  else
    place = (double(i) + 0.5) * double(in) / double(out) - 0.5;
  if (place < 0.0) place = 0.0;
  int64_t at = int64_t(place);
  if (at > in - 1) at = in - 1;
  const int64_t next = at + 1 < in ? at + 1 : at;
  return {at, next, place - double(at)};
}

}  // namespace figment::bilinear
