// Convolutions of few channels as matrix products: unfolding lays what each position reads through
// all taps down as a row of a matrix; folding adds up what a product has for each position and tap.
// Both walk the window from the positions on one side to the sources on the other.
#pragma once

#include "../gemm/divisor.h"
#include "../gemm/epilogue.h"
#include "window.h"

namespace figment::cuda {

/// Along an axis, position `at` reaches through tap `t` the source (at·step + start + t·tapStep) /
/// over, where that divides and lies among the sources.
struct ReachAxis {
  int32_t sources = 1;
  int32_t step = 1, start = 0, tapStep = 1;
  Divisor over;

  FIGMENT_DEVICE int32_t source(int32_t at, int32_t shift) const {
    const int32_t i = at * step + start + shift;
    if (i < 0) return -1;
    const uint32_t quotient = over.quotient(uint32_t(i));
    return over.rest(uint32_t(i), quotient) == 0 && int32_t(quotient) < sources ? int32_t(quotient)
                                                                                : -1;
  }
};
struct Reach {
  ReachAxis y, x;
  int32_t taps = 0, tapsX = 1;
  int64_t positions = 0;
  Divisor area, width;  ///< of positions in an image
};

/// From positions of the result to the image that they read.
template <class P>
Reach reachOfResults(const P& p) {
  return {.y = {.sources = p.h,
                .step = p.stride[0],
                .start = -p.padLo[0],
                .tapStep = p.dilation[0],
                .over = {}},
          .x = {.sources = p.w,
                .step = p.stride[1],
                .start = -p.padLo[1],
                .tapStep = p.dilation[1],
                .over = {}},
          .taps = p.kh * p.kw,
          .tapsX = p.kw,
          .positions = int64_t(p.n) * p.ho * p.wo,
          .area = Divisor(int64_t(p.ho) * p.wo),
          .width = Divisor(p.wo)};
}
/// From pixels of the image to the results that read them.
template <class P>
Reach reachOfPixels(const P& p) {
  return {.y = {.sources = p.ho,
                .step = 1,
                .start = p.padLo[0],
                .tapStep = -p.dilation[0],
                .over = Divisor(p.stride[0])},
          .x = {.sources = p.wo,
                .step = 1,
                .start = p.padLo[1],
                .tapStep = -p.dilation[1],
                .over = Divisor(p.stride[1])},
          .taps = p.kh * p.kw,
          .tapsX = p.kw,
          .positions = int64_t(p.n) * p.h * p.w,
          .area = Divisor(int64_t(p.h) * p.w),
          .width = Divisor(p.w)};
}

/// How taps and channels are numbered together.
enum class Order { tapFirst, channelFirst };

/// Rows of `pitch` elements of the source's format, a multiple of eight, zeros behind the taps'
/// channels.
struct Unfolding {
  Reach reach;
  Order order = Order::tapFirst;
  int32_t channels = 0, pitch = 0;
  int32_t columns() const { return reach.taps * channels; }
};
void unfold(Launcher& launcher, const Unfolding& unfolding, const Operand& source, std::byte* to);

/// Of a matrix with a row for each channel and tap and a column for each source.
struct Folding {
  Reach reach;
  Order order = Order::tapFirst;
  int32_t channels = 0;  ///< at most kMostFew
  int64_t columns = 0;
};
void fold(Launcher& launcher, const Folding& folding, const float* matrix,
          const Epilogue<float>& epilogue);

/// Channels that are few: less than the eight that tensor cores multiply at least.
constexpr int32_t kMostFew = 7;
/// Taps' channels that unfolding has a table for.
constexpr int32_t kMostUnfolded = 1024;

}  // namespace figment::cuda
