// Which calls Winograd's filtering can run. Include only from files compiled for one instruction
// set.
#pragma once

#include "kernels/conv/geometry.inl.h"

namespace figment::FIGMENT_ISA::conv {

/// What transforms may take: shared by all workers, and of each.
constexpr double kSharedBytes = 256e6, kWorkerBytes = 64e6;
constexpr double kMostTiles = 1e12;

inline double tilesOf(const Geometry& g, int height, int width) {
  return double(g.images) * double(ceilDiv(g.outHeight, height)) *
         double(ceilDiv(g.outWidth, width));
}

/// 3×3 taps, neither strided nor dilated.
template <class P>
inline bool isFilter(const OpCall& call, const P& p) {
  if (!plainShape(call, p) || p.kh != 3 || p.kw != 3) return false;
  for (int axis = 0; axis < 2; axis++)
    if (p.stride[axis] != 1 || p.dilation[axis] != 1) return false;
  return true;
}

}  // namespace figment::FIGMENT_ISA::conv
