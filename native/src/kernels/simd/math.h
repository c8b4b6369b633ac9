// exp, log, tanh, sigmoid, sin, cos and the Box-Muller angle over the lanes of vec.h. Every
// function is a fixed sequence of adds, multiplies and explicit fused multiply-adds, so all
// instruction sets produce the same bits. Polynomials: S. L. Moshier, Cephes Mathematical Library
// (expf, logf, tanhf, sinf); reduction of large angles: M. Payne and R. Hanek, SIGNUM Newsletter 18
// (1983). Errors, in units in the last place: exp 1, log 1, tanh and sigmoid 3, sin and cos 2.
#pragma once

#include "vec.h"

namespace figment::FIGMENT_ISA {

/// Horner's rule with one fma a step; coefficients from the highest power down.
template <class... Rest>
FIGMENT_INLINE F32 polynomial(F32 x, float highest, Rest... rest) {
  F32 sum = F32::broadcast(highest);
  ((sum = fma(sum, x, F32::broadcast(rest))), ...);
  return sum;
}

/// Adding 1.5·2²³ rounds to an integer.
constexpr float kWholeShifter = 12582912.0f;

/// e·2^n for shifted = n + kWholeShifter, rounded once where it is denormal.
FIGMENT_INLINE F32 timesPowerOfTwo(F32 e, F32 shifted) {
  const F32 shifter = F32::broadcast(kWholeShifter);
#if FIGMENT_LEVEL == 2
  return {_mm512_scalef_ps(e.v, (shifted - shifter).v)};
#else
  // Two factors, so that neither leaves the exponent's range.
  const I32 exponent = asInt(shifted) - asInt(shifter), half = sar(exponent, 1);
  const I32 bias = I32::broadcast(127);
  return e * asFloat(shl(half + bias, 23)) * asFloat(shl(exponent - half + bias, 23));
#endif
}

/// e^x: x = n ln 2 + r, |r| <= ln 2 / 2. Denormal results are rounded once; overflow gives
/// infinity.
FIGMENT_INLINE F32 exp(F32 x) {
  // Beyond these the result is 0 or infinity whatever x is; the order of operands keeps NaN.
  x = min(F32::broadcast(89.0f), max(F32::broadcast(-104.0f), x));
  const F32 shifter = F32::broadcast(kWholeShifter);
  const F32 shifted = fma(x, F32::broadcast(1.44269504f), shifter);
  const F32 n = shifted - shifter;
  F32 r = fnma(n, F32::broadcast(0.693359375f), x);
  r = fnma(n, F32::broadcast(-2.12194440e-4f), r);
  const F32 p = polynomial(r, 1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                           4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f);
  return timesPowerOfTwo(fma(p, r * r, r) + F32::broadcast(1.0f), shifted);
}

/// kScale ln x for positive normal finite x (not checked), kScale a power of two or its negative:
/// the bits of the product, by scaled coefficients.
template <int kScale>
FIGMENT_INLINE F32 scaledLogNormal(F32 x, I32 exponentAdjust) {
  constexpr float k = kScale;
  // x = 2^e (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)).
  const I32 rebased = asInt(x) - I32::broadcast(0x3f3504f3);
  const F32 e = toFloat(sar(rebased, 23) + exponentAdjust);
  const F32 f = asFloat((rebased & I32::broadcast(0x7fffff)) + I32::broadcast(0x3f3504f3)) -
                F32::broadcast(1.0f);
  const F32 p = polynomial(f, k * 7.0376836292e-2f, k * -1.1514610310e-1f, k * 1.1676998740e-1f,
                           k * -1.2420140846e-1f, k * 1.4249322787e-1f, k * -1.6668057665e-1f,
                           k * 2.0000714765e-1f, k * -2.4999993993e-1f, k * 3.3333331174e-1f);
  const F32 square = f * f;
  F32 tail = f * square * p;
  tail = fma(e, F32::broadcast(k * -2.12194440e-4f), tail);
  tail = fnma(F32::broadcast(k * 0.5f), square, tail);
  const F32 mantissa = kScale == 1 ? f + tail : fma(F32::broadcast(k), f, tail);
  return fma(e, F32::broadcast(k * 0.693359375f), mantissa);
}
FIGMENT_INLINE F32 logNormal(F32 x, I32 exponentAdjust) {
  return scaledLogNormal<1>(x, exponentAdjust);
}
FIGMENT_INLINE F32 logNormal(F32 x) { return logNormal(x, I32::zero()); }

/// ln x: -infinity at 0, NaN below.
FIGMENT_INLINE F32 log(F32 x) {
  const F32 infinity = asFloat(I32::broadcast(0x7f800000));
  const Mask tiny = lt(x, asFloat(I32::broadcast(0x00800000)));
  const F32 scaled = blend(tiny, x * F32::broadcast(33554432.0f), x);  // 2^25
  const I32 adjust = blend(tiny, I32::broadcast(-25), I32::zero());
  F32 result = logNormal(scaled, adjust);
  result = blend(lt(x, infinity), result, x);  // infinity and NaN map to themselves
  result = blend(eq(x, F32::zero()), -infinity, result);
  return blend(lt(x, F32::zero()), asFloat(I32::broadcast(0x7fc00000)), result);
}

/// 1 / (1 + e^-x), from e^-|x| so that nothing overflows and small results keep their precision.
FIGMENT_INLINE F32 sigmoid(F32 x) {
  const F32 one = F32::broadcast(1.0f);
  const F32 e = exp(-abs(x));
  return blend(lt(x, F32::zero()), e, one) / (one + e);
}

/// x * sigmoid(x); NaN at minus infinity, as the product of the two is.
FIGMENT_INLINE F32 silu(F32 x) { return x * sigmoid(x); }

FIGMENT_INLINE F32 tanh(F32 x) {
  const F32 one = F32::broadcast(1.0f);
  const F32 magnitude = abs(x);
  const F32 square = x * x;
  const F32 p = polynomial(square, -5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f,
                           1.33314422036e-1f, -3.33332819422e-1f);
  const F32 small = fma(p * square, x, x);
  const F32 e = exp(magnitude + magnitude);
  const F32 large = one - F32::broadcast(2.0f) / (e + one);
  // The sign comes last: the polynomial alone would turn -0 into 0.
  return copysign(blend(lt(magnitude, F32::broadcast(0.625f)), small, large), x);
}

struct SinCos {
  F32 sin, cos;
};

/// Sine and cosine of |r| <= pi/4.
FIGMENT_INLINE SinCos sincosOctant(F32 r) {
  const F32 z = r * r;
  const F32 s =
      fma(polynomial(z, -1.9515295891e-4f, 8.3321608736e-3f, -1.6666654611e-1f) * z, r, r);
  const F32 c = fma(
      polynomial(z, 2.443315711809948e-5f, -1.388731625493765e-3f, 4.166664568298827e-2f, -0.5f), z,
      F32::broadcast(1.0f));
  return {s, c};
}

/// Sine and cosine of quadrant * pi/2 + r, |r| <= pi/4.
FIGMENT_INLINE SinCos sincosReduced(F32 r, I32 quadrant) {
  const auto [s, c] = sincosOctant(r);
  const I32 one = I32::broadcast(1);
  const I32 sign = I32::broadcast(INT32_MIN);
  const Mask swapped = eq(quadrant & one, one);
  const I32 sinSign = shl(quadrant, 30) & sign;
  const I32 cosSign = shl(quadrant + one, 30) & sign;
  return {asFloat(asInt(blend(swapped, c, s)) ^ sinSign),
          asFloat(asInt(blend(swapped, s, c)) ^ cosSign)};
}

/// Payne-Hanek reduction of one |x| >= 2^15: answers the remainder in [-pi/4, pi/4], adds the
/// quadrant.
inline float reduceLargeAngle(float x, int32_t& quadrant) {
  static constexpr uint32_t kTwoOverPi[] = {0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0,
                                            0xdb629599, 0x3c439041, 0xfe5163ab, 0xdebbc561};
  uint32_t bits;
  __builtin_memcpy(&bits, &x, 4);
  const int exponent = int((bits >> 23) & 255) - 150;  // |x| = mantissa * 2^exponent
  const uint64_t mantissa = (bits & 0x7fffff) | 0x800000;
  // Leading bits of 2/pi whose product with x is a multiple of four quadrants are left out.
  const int skipped = exponent > 2 ? exponent - 2 : 0;
  const int down = exponent < 2 ? 2 - exponent : 0;
  const int word = skipped / 32, shift = skipped % 32;
  uint64_t window[3];
  for (int i = 0; i < 3; i++) {
    const uint64_t pair = uint64_t(kTwoOverPi[word + i]) << 32 | kTwoOverPi[word + i + 1];
    window[i] = uint32_t(pair >> (32 - shift));
  }
  const uint64_t low = mantissa * window[2];
  const uint64_t middle = mantissa * window[1] + (low >> 32);
  const uint64_t high = mantissa * window[0] + (middle >> 32);
  uint64_t turn = high << 32 | uint32_t(middle);  // x mod 2 pi in units of 2 pi / 2^64
  if (down > 0) turn = turn >> down | (high >> 32) << (64 - down);
  quadrant = int32_t((turn + (uint64_t(1) << 61)) >> 62);
  const double remainder = double(int64_t(turn << 2)) * 0x1p-64 * 1.5707963267948966;
  if (bits >> 31) {
    quadrant = -quadrant;
    return float(-remainder);
  }
  return float(remainder);
}

FIGMENT_INLINE SinCos sincos(F32 x) {
  const F32 shifter = F32::broadcast(12582912.0f);
  const F32 shifted = fma(x, F32::broadcast(0.636619772f), shifter);
  const F32 n = shifted - shifter;
  I32 quadrant = asInt(shifted) - asInt(shifter);
  // pi/2 in three parts; the first step is exact, the others round only the remainder.
  F32 r = fnma(n, F32::broadcast(1.57079637050628662109375f), x);
  r = fnma(n, F32::broadcast(-4.37113900018624283e-8f), r);
  r = fnma(n, F32::broadcast(-1.71512449e-15f), r);
  const F32 magnitude = abs(x);
  const F32 infinity = asFloat(I32::broadcast(0x7f800000));
  const Mask large = ge(magnitude, F32::broadcast(32768.0f)) & lt(magnitude, infinity);
  if (any(large)) {
    float angle[kLanes], remainder[kLanes];
    int32_t turns[kLanes];
    x.store(angle);
    r.store(remainder);
    quadrant.store(turns);
    for (int i = 0; i < kLanes; i++) {
      const float size = __builtin_fabsf(angle[i]);
      if (size >= 32768.0f && size < __builtin_inff())
        remainder[i] = reduceLargeAngle(angle[i], turns[i]);
    }
    r = F32::load(remainder);
    quadrant = I32::load(turns);
  }
  const Mask finite = lt(magnitude, infinity);
  return sincosReduced(blend(finite, r, asFloat(I32::broadcast(0x7fc00000))), quadrant);
}
/// The polynomial alone would turn -0 into 0.
FIGMENT_INLINE F32 sin(F32 x) { return blend(eq(x, F32::zero()), x, sincos(x).sin); }
FIGMENT_INLINE F32 cos(F32 x) { return sincos(x).cos; }

/// Sine and cosine of 2 pi k / 2^24 where k is the upper 24 bits of the word; the reduction is
/// exact.
FIGMENT_INLINE SinCos sincosTurn(I32 word) {
  // Below the two bits of the quarter turn the rest is a signed number, rounding to the nearest
  // one.
  const I32 rest = shl(word, 2) & I32::broadcast(-(1 << 10));
  const auto [s, c] = sincosOctant(toFloat(rest) * F32::broadcast(0x1p-10f * 3.7450705e-7f));
  const I32 quadrant = word + I32::broadcast(1 << 29);  // in the two highest bits
  const I32 odd = shl(quadrant, 1);
  const I32 sign = I32::broadcast(INT32_MIN);
  return {asFloat(asInt(blendBySign(odd, c, s)) ^ (quadrant & sign)),
          asFloat(asInt(blendBySign(odd, s, c)) ^ ((quadrant ^ odd) & sign))};
}

}  // namespace figment::FIGMENT_ISA
