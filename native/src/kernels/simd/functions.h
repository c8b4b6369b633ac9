// The rarer functions over the lanes of vec.h: expm1, log1p, softplus, erf, pow, the remainder and
// the sign. As in math.h each is one fixed sequence of operations, with the same bits on every
// instruction set. pow keeps the logarithm as an unevaluated sum of two floats (T. J. Dekker,
// Numer. Math. 18, 1971); erf is a weighted minimax fit. Errors, in units in the last place: expm1,
// log1p, softplus, erf and pow 2; the remainder is exact.
#pragma once

#include "math.h"

namespace figment::FIGMENT_ISA {

/// -1, 0 or 1; zeros keep their sign, NaN stays NaN.
FIGMENT_INLINE F32 sign(F32 x) {
  return blend(isNan(x) | eq(x, F32::zero()), x, copysign(F32::broadcast(1.0f), x));
}

/// e^x - 1: 2^n (e^r - 1) + (2^n - 1), from half of it so that 2^n stays in the exponent's range.
FIGMENT_INLINE F32 expm1(F32 x) {
  const F32 clamped = min(F32::broadcast(89.0f), max(F32::broadcast(-25.0f), x));
  const F32 shifter = F32::broadcast(12582912.0f);
  const F32 shifted = fma(clamped, F32::broadcast(1.44269504f), shifter);
  const F32 n = shifted - shifter;
  const I32 exponent = asInt(shifted) - asInt(shifter);
  F32 r = fnma(n, F32::broadcast(0.693359375f), clamped);
  r = fnma(n, F32::broadcast(-2.12194440e-4f), r);
  const F32 p = fma(polynomial(r, 1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                               4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f),
                    r * r, r);
  const F32 half = asFloat(shl(exponent + I32::broadcast(126), 23));
  const F32 result = fma(half, p, half - F32::broadcast(0.5f)) * F32::broadcast(2.0f);
  // Below this x is its own result, zeros keep their sign and denormals their bits.
  return blend(lt(abs(x), F32::broadcast(0x1p-25f)), x, result);
}

/// ln(1 + x): the logarithm of the rounded sum, corrected by what rounding lost.
FIGMENT_INLINE F32 log1p(F32 x) {
  const F32 one = F32::broadcast(1.0f);
  const F32 infinity = asFloat(I32::broadcast(0x7f800000));
  const F32 sum = one + x;
  const F32 taken = sum - one;
  const F32 lost = (one - (sum - taken)) + (x - taken);
  F32 result = logNormal(sum) + lost / sum;
  result = blend(lt(abs(x), F32::broadcast(0x1p-25f)), x, result);
  result = blend(lt(x, infinity), result, x);  // infinity and NaN map to themselves
  result = blend(eq(x, -one), -infinity, result);
  return blend(lt(x, -one), asFloat(I32::broadcast(0x7fc00000)), result);
}

/// ln(1 + e^x) without overflow.
FIGMENT_INLINE F32 softplus(F32 x) { return maximum(x, F32::zero()) + log1p(exp(-abs(x))); }

/// The error function: x + x P(x^2) near zero, 1 - e^(t Q(t) - t) with t = |x| beyond.
/// `exponential` is only asked about numbers that are not positive.
template <class Exponential>
FIGMENT_INLINE F32 erfWith(F32 x, Exponential&& exponential) {
  const F32 t = abs(x);
  const F32 one = F32::broadcast(1.0f);
  const F32 p =
      polynomial(x * x, -5.964247975498438e-4f, 4.988003056496382e-3f, -2.6763122528791428e-2f,
                 1.1281721293926239e-1f, -3.7612485885620117e-1f, 1.2837915122509003e-1f);
  const F32 small = fma(p, x, x);
  const F32 saturated = min(F32::broadcast(4.0f), t);  // NaN stays
  const F32 q = polynomial(saturated, -1.1231853932258673e-5f, 3.22809093631804e-4f,
                           -3.6424794234335423e-3f, 2.376210317015648e-2f, -1.0623691976070404e-1f,
                           -6.351512670516968e-1f, -1.2864848971366882e-1f);
  const F32 large = one - exponential(fma(q, saturated, -saturated));
  return copysign(blend(lt(t, F32::broadcast(0.9277f)), small, large), x);
}
FIGMENT_INLINE F32 erf(F32 x) {
  return erfWith(x, [](F32 y) { return exp(y); });
}

/// An unevaluated sum; |low| is at most half a unit in the last place of high.
struct TwoFloats {
  F32 high, low;
};

/// ln x beyond f32 precision for positive normal finite x: with s = f / (2 + f), 2 s (1 + s^2/3 +
/// ...).
FIGMENT_INLINE TwoFloats logTwoFloats(F32 x, I32 exponentAdjust) {
  const I32 rebased = asInt(x) - I32::broadcast(0x3f3504f3);
  const F32 e = toFloat(sar(rebased, 23) + exponentAdjust);
  const F32 two = F32::broadcast(2.0f);
  const F32 f = asFloat((rebased & I32::broadcast(0x7fffff)) + I32::broadcast(0x3f3504f3)) -
                F32::broadcast(1.0f);
  const F32 divisor = f + two;
  const F32 divisorLow = f - (divisor - two);
  const F32 s = f / divisor;
  const F32 sLow = (fnma(s, divisor, f) - s * divisorLow) / divisor;
  const F32 z = s * s;
  const F32 zLow = fma(s, s, -z) + two * s * sLow;
  const F32 third = F32::broadcast(0.333333343f), thirdLow = F32::broadcast(-9.93410776e-9f);
  const F32 cubic = z * third;
  const F32 cubicLow = fma(z, third, -cubic) + z * thirdLow + zLow * third;
  const F32 rest = z * z *
                   polynomial(z, 7.6923076923e-2f, 9.0909090909e-2f, 1.1111111111e-1f,
                              1.4285714286e-1f, 2.0000000000e-1f);
  const F32 c = cubic + rest;
  const F32 cLow = (cubic - c) + rest + cubicLow;
  const F32 product = s * c;
  const F32 productLow = fma(s, c, -product) + s * cLow + sLow * c;
  const F32 half = s + product;
  const F32 halfLow = (s - half) + product + productLow + sLow;
  const F32 mantissa = half + half, mantissaLow = halfLow + halfLow;
  const F32 whole = e * F32::broadcast(0.693359375f);  // exact: nine bits
  const F32 sum = whole + mantissa;
  const F32 part = sum - whole;
  const F32 lost = (whole - (sum - part)) + (mantissa - part);
  const F32 low = fma(e, F32::broadcast(-2.12194440e-4f), lost + mantissaLow);
  const F32 high = sum + low;
  return {high, (sum - high) + low};
}

/// x^y as IEEE 754 and C define it, special cases included.
FIGMENT_INLINE F32 pow(F32 x, F32 y) {
  const F32 zero = F32::zero(), one = F32::broadcast(1.0f);
  const F32 infinity = asFloat(I32::broadcast(0x7f800000));
  const F32 base = abs(x);
  const Mask tiny = lt(base, asFloat(I32::broadcast(0x00800000)));
  const TwoFloats log = logTwoFloats(blend(tiny, base * F32::broadcast(33554432.0f), base),
                                     blend(tiny, I32::broadcast(-25), I32::zero()));
  // e^(w + wLow); beyond the bounds the result is 0 or infinity whatever wLow is.
  F32 w = y * log.high;
  const F32 wLow =
      blend(lt(abs(w), F32::broadcast(200.0f)), fma(y, log.high, -w) + y * log.low, zero);
  w = min(F32::broadcast(89.0f), max(F32::broadcast(-104.0f), w));
  const F32 shifter = F32::broadcast(12582912.0f);
  const F32 shifted = fma(w, F32::broadcast(1.44269504f), shifter);
  const F32 n = shifted - shifter;
  const I32 exponent = asInt(shifted) - asInt(shifter);
  F32 r = fnma(n, F32::broadcast(0.693359375f), w);
  r = fnma(n, F32::broadcast(-2.12194440e-4f), r) + wLow;
  const F32 p = polynomial(r, 1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                           4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f);
  const I32 half = sar(exponent, 1);
  const I32 bias = I32::broadcast(127);
  F32 result = (fma(p, r * r, r) + one) * asFloat(shl(half + bias, 23)) *
               asFloat(shl(exponent - half + bias, 23));
  const Mask rising = gt(y, zero);
  result = blend(eq(base, zero), blend(rising, zero, infinity), result);
  result = blend(eq(base, infinity), blend(rising, infinity, zero), result);
  result = blend(eq(base, one), one, result);
  const Mask whole = eq(floor(y), y);
  const F32 halved = y * F32::broadcast(0.5f);
  const Mask odd = whole & ne(floor(halved), halved);
  result = blend(odd, copysign(result, x), result);
  const Mask imaginary = lt(x, zero) & gt(x, -infinity) & ~whole;
  const F32 nan = asFloat(I32::broadcast(0x7fc00000));
  result = blend(imaginary | isNan(x) | isNan(y), nan, result);
  return blend(eq(x, one) | eq(y, zero), one, result);
}

/// a - b trunc(a / b), exactly; the sign is the dividend's.
FIGMENT_INLINE F32 rem(F32 a, F32 b) {
  const F32 x = abs(a), y = abs(b);
  const F32 quotient = floor(x / y);
  // Below this the rounded quotient is off by one at most, and each step is exact.
  const Mask simple = lt(quotient, F32::broadcast(0x1p22f));
  F32 result = fnma(quotient, y, x);
  result = blend(lt(result, F32::zero()), result + y, result);
  result = blend(ge(result, y), result - y, result);
  result = blend(lt(x, y), x, result);
  if (any(~simple)) {
    float dividend[kLanes], divisor[kLanes], remainder[kLanes];
    x.store(dividend);
    y.store(divisor);
    result.store(remainder);
    for (int i = 0; i < kLanes; i++)
      if (!(dividend[i] / divisor[i] < 0x1p22f))
        remainder[i] = __builtin_fmodf(dividend[i], divisor[i]);
    result = F32::load(remainder);
  }
  return copysign(result, a);
}

}  // namespace figment::FIGMENT_ISA
