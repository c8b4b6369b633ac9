// Which calls of upfirdn2d have positions that 32 bits count.
#pragma once

#include <cmath>

#include "../resize/pixels.h"
#include "kernels/params/upfirdn2d.generated.h"

namespace figment::cuda {

inline bool smallFilter(const OpCall& call) {
  const auto& p = call.as<Upfirdn2dParams>();
  const double in[2] = {double(p.h), double(p.w)}, out[2] = {double(p.ho), double(p.wo)};
  const double taps[2] = {double(p.kh), double(p.kw)};
  // Results are made several at once, past the last one too.
  constexpr double kPast = 16;
  for (int d = 0; d < 2; d++) {
    const double positions = (out[d] + kPast) * p.down[d] + std::fabs(double(p.padLo[d])) + taps[d];
    if (positions + p.up[d] + in[d] * p.up[d] >= 2147483647.0) return false;
  }
  return call.out[0].format == Format::f32 && smallImages(call);
}

}  // namespace figment::cuda
