// What kernels on images [n, h, w, c] share: one thread for each pixel of the result and each group
// of V neighbouring channels, with 32-bit indices. Threads of a warp are neighbours along channels,
// then along rows.
#pragma once

#include "../../device/divisor.h"
#include "../../device/four.h"
#include "../../device/launch.h"

namespace figment::cuda {

/// V neighbouring floats, moved at once.
template <int V>
struct alignas(4 * V) Channels {
  float v[V];
};

/// A work item of a thread.
struct Pixel {
  int n, y, x;
  int c;  ///< first channel
};

struct Pixels {
  Divisor groups, width, height;
  uint32_t count;
  int lanes;

  /// Of a result of this shape, in groups of so many channels; none of the sizes is zero.
  Pixels(int64_t n, int64_t h, int64_t w, int64_t c, int perThread)
      : groups(uint32_t(c / perThread)),
        width(uint32_t(w)),
        height(uint32_t(h)),
        count(uint32_t(n * h * w * (c / perThread))),
        lanes(perThread) {}

#ifdef FIGMENT_KERNELS
  FIGMENT_DEVICE Pixel at(uint32_t item) const {
    const uint32_t pixel = groups.quotient(item), row = width.quotient(pixel),
                   n = height.quotient(row);
    return {int(n), int(row - n * height.divisor), int(pixel - row * width.divisor),
            int(item - pixel * groups.divisor) * lanes};
  }
#endif
};

/// Whether 32-bit indices reach everything, and there is something to do.
inline bool smallImages(const OpCall& call) {
  for (int i = 0; i < call.inCount; i++)
    if (call.in[i].empty() || call.in[i].elements() >= int64_t(1) << 31) return false;
  return !call.out[0].empty() && call.out[0].elements() < int64_t(1) << 31;
}

/// Preference of the kernels that are made of these, and of those that know more about their call.
constexpr int kVectorPreference = 10, kSpecialPreference = 20;

inline int supportsF32Images(const OpCall& call) {
  return call.out[0].format == Format::f32 && smallImages(call) ? kVectorPreference : -1;
}

/// Channels a thread takes: 4 where all operands are laid out for it, else 1.
inline int channelsAtOnce(const OpCall& call, int64_t channels, int images) {
  bool all = channels % 4 == 0 && startsAligned(call.out[0]);
  for (int i = 0; i < images; i++) all = all && startsAligned(call.in[i]);
  return all ? 4 : 1;
}

}  // namespace figment::cuda
