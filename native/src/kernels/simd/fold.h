// Four vectors, each folded to one number: what short rows need, four of which share the shuffles.
#pragma once

#include "vec.h"

namespace figment::FIGMENT_ISA {

/// out[k] is the combination of all lanes of v[k], in an order that is the same for each. Op::apply
/// combines vectors and numbers.
template <class Op, class V, class T>
FIGMENT_INLINE void foldFour(const V (&v)[4], T* out) {
  const V even = Op::apply(interleaveLow(v[0], v[2]), interleaveHigh(v[0], v[2]));
  const V odd = Op::apply(interleaveLow(v[1], v[3]), interleaveHigh(v[1], v[3]));
  T lane[kLanes];
  Op::apply(interleaveLow(even, odd), interleaveHigh(even, odd)).store(lane);
  for (int width = kLanes / 2; width >= 4; width /= 2)
    for (int i = 0; i < width; i++) lane[i] = Op::apply(lane[i], lane[i + width]);
  for (int k = 0; k < 4; k++) out[k] = lane[k];
}

/// The last lanes replaced by `filler`, which keeps them out of a fold.
FIGMENT_INLINE F32 loadFilled(const float* p, int lanes, float filler) {
  if (lanes == kLanes) return F32::load(p);
  const Mask inside = lt(I32::iota(), I32::broadcast(lanes));
  return blend(inside, F32::loadPartial(p, lanes), F32::broadcast(filler));
}

}  // namespace figment::FIGMENT_ISA
