// The functions of f32 registers, each as one fixed sequence of operations on a type F, of which
// there are two: Number of math.h, with which kernels compute, and the values of the emitters in
// kernels/elementwise, with which the same sequences become PTX or C++ text. F has
//
//   F::Int, F::Mask, F::Long               i32, a truth value, u64
//   + - * / and unary -                    rounded to nearest and never contracted
//   fma(a, b, c), sqrt(x)                  rounded once
//   ratio(a, b), exp2Approx(x)             a / b (a 0 for |b| > 2^126) and 2^x, to 2 units in the
//                                          last place; |b| is no denormal number
//   min, max                               the other one where one is NaN
//   lt, ge, gt, eq, ne; & | ~; blend(mask, a, b)  a where the mask holds
//   abs, copysign(x, sign), floor, ceil, nearest
//   asInt, asFloat, toFloat(Int); of Int: + - & ^, shl and sar by a constant, eq
//   variable(x), assign(variable, x), when(mask, work), F::repeatWhile(mask(), work)
//
// Polynomials: S. L. Moshier, Cephes Mathematical Library (expm1, logf, tanhf, sinf), erf a
// weighted minimax fit; pow keeps the logarithm as an unevaluated sum of two floats (T. J. Dekker,
// Numer. Math. 18, 1971); large angles: M. Payne and R. Hanek, SIGNUM Newsletter 18 (1983). The
// same as the CPU's (native/src/kernels/simd), but for exp, which has the processor's 2^x here.
// Errors in units in the last place: exp, log and expm1 3; log1p, softplus, erf, sin and cos 3;
// tanh and sigmoid 5; pow 2; the remainder is exact.
#pragma once

#include "platform.h"

namespace figment::cuda::sequences {

/// Horner's rule with one fma a step; coefficients from the highest power down.
template <class F, class... Rest>
FIGMENT_DEVICE F polynomial(F x, float highest, float next, Rest... rest) {
  F sum = fma(F(highest), x, F(next));
  ((sum = fma(sum, x, F(rest))), ...);
  return sum;
}

template <class F>
FIGMENT_DEVICE F infinityOf() {
  return asFloat(typename F::Int(0x7f800000));
}
template <class F>
FIGMENT_DEVICE F nanOf() {
  return asFloat(typename F::Int(0x7fc00000));
}

/// NaN where either is; of equal ones the second.
template <class F>
FIGMENT_DEVICE F maximum(F a, F b) {
  return blend(gt(a, b) | ne(a, a), a, b);
}
template <class F>
FIGMENT_DEVICE F minimum(F a, F b) {
  return blend(lt(a, b) | ne(a, a), a, b);
}

/// -1, 0 or 1; zeros keep their sign, NaN stays NaN.
template <class F>
FIGMENT_DEVICE F sign(F x) {
  return blend(eq(x, F(0.0f)) | ne(x, x), x, copysign(F(1.0f), x));
}

/// e^x = 2^n 2^f. n is held within the exponent's range, f is not: there the result overflows, or
/// rounds once to a denormal number or 0. NaN passes through f.
template <class F>
FIGMENT_DEVICE F exp(F x) {
  const F shifter(
      12583039.0f);  // 1.5 * 2^23 + 127: adding it rounds, and leaves n + 127 at the end
  const F held = min(F(87.0f), max(F(-87.0f), x));
  const F shifted = fma(held, F(1.44269502f), shifter);
  const F n = shifted - shifter;
  F f = fma(x, F(1.44269502f), -n);
  f = fma(x, F(1.92596303e-8f), f);
  return exp2Approx(f) * asFloat(shl(asInt(shifted), 23));
}

/// e^x - 1: 2^n (e^r - 1) + (2^n - 1), from half of it so that 2^n stays in the exponent's range.
template <class F>
FIGMENT_DEVICE F expm1(F x) {
  using I = typename F::Int;
  const F held = blend(ne(x, x), x, min(F(89.0f), max(F(-25.0f), x)));
  const F shifter(12582912.0f);
  const F shifted = fma(held, F(1.44269504f), shifter);
  const F n = shifted - shifter;
  F r = fma(-n, F(0.693359375f), held);
  r = fma(-n, F(-2.12194440e-4f), r);
  const F p = fma(polynomial(r, 1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                             4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f),
                  r * r, r);
  const F half = asFloat(shl(asInt(shifted) + I(126), 23));
  const F result = fma(half, p, half - F(0.5f)) * F(2.0f);
  // Below this x is its own result, zeros keep their sign and denormals their bits.
  return blend(lt(abs(x), F(0x1p-25f)), x, result);
}

/// ln x for positive normal finite x (not checked): x = 2^e (1 + f), 1 + f in [sqrt(1/2), sqrt(2)).
template <class F>
FIGMENT_DEVICE F logNormal(F x, typename F::Int exponentAdjust) {
  using I = typename F::Int;
  const I rebased = asInt(x) - I(0x3f3504f3);
  const F e = toFloat(sar(rebased, 23) + exponentAdjust);
  const F f = asFloat((rebased & I(0x7fffff)) + I(0x3f3504f3)) - F(1.0f);
  const F p = polynomial(f, 7.0376836292e-2f, -1.1514610310e-1f, 1.1676998740e-1f,
                         -1.2420140846e-1f, 1.4249322787e-1f, -1.6668057665e-1f, 2.0000714765e-1f,
                         -2.4999993993e-1f, 3.3333331174e-1f);
  const F square = f * f;
  F tail = f * square * p;
  tail = fma(e, F(-2.12194440e-4f), tail);
  tail = fma(F(-0.5f), square, tail);
  return fma(e, F(0.693359375f), f + tail);
}

/// ln x: -infinity at 0, NaN below.
template <class F>
FIGMENT_DEVICE F log(F x) {
  using I = typename F::Int;
  const F infinity = infinityOf<F>();
  const auto tiny = lt(x, F(0x1p-126f));
  const F scaled = blend(tiny, x * F(33554432.0f), x);  // 2^25
  F result = logNormal(scaled, blend(tiny, I(-25), I(0)));
  result = blend(lt(x, infinity), result, x);  // infinity and NaN map to themselves
  result = blend(eq(x, F(0.0f)), -infinity, result);
  return blend(lt(x, F(0.0f)), nanOf<F>(), result);
}

/// ln(1 + x): the logarithm of the rounded sum, corrected by what rounding lost.
template <class F>
FIGMENT_DEVICE F log1p(F x) {
  using I = typename F::Int;
  const F one(1.0f);
  const F sum = one + x;
  const F taken = sum - one;
  const F lost = (one - (sum - taken)) + (x - taken);
  F result = logNormal(sum, I(0)) + ratio(lost, sum);
  result = blend(lt(abs(x), F(0x1p-25f)), x, result);
  result = blend(lt(x, infinityOf<F>()), result, x);  // infinity and NaN map to themselves
  result = blend(eq(x, -one), -infinityOf<F>(), result);
  return blend(lt(x, -one), nanOf<F>(), result);
}

/// The larger of x and 0 plus ln(1 + e^-|x|): without overflow.
template <class F>
FIGMENT_DEVICE F softplus(F x) {
  using I = typename F::Int;
  const F e = exp(-abs(x));  // 0 to 1, so that of log1p the sum alone is left
  const F one(1.0f);
  const F sum = one + e;
  const F lost = e - (sum - one);
  const F logarithm = blend(lt(e, F(0x1p-25f)), e, logNormal(sum, I(0)) + ratio(lost, sum));
  return blend(ne(x, x), x, max(x, F(0.0f)) + logarithm);
}

/// 1 / (1 + e^-x), from e^-|x| so that nothing overflows and small results keep their precision.
template <class F>
FIGMENT_DEVICE F sigmoid(F x) {
  const F e = exp(-abs(x));
  return ratio(blend(lt(x, F(0.0f)), e, F(1.0f)), F(1.0f) + e);
}

template <class F>
FIGMENT_DEVICE F tanh(F x) {
  const F one(1.0f);
  const F t = abs(x);
  const F square = x * x;
  const F p = polynomial(square, -5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f,
                         1.33314422036e-1f, -3.33332819422e-1f);
  const F small = fma(p * square, x, x);
  // From here on the result is 1; NaN stays.
  const F held = blend(lt(t, F(10.0f)) | ne(x, x), t, F(10.0f));
  const F large = one - ratio(F(2.0f), exp(held + held) + one);
  // The sign comes last: the polynomial alone would turn -0 into 0.
  return copysign(blend(lt(t, F(0.625f)), small, large), x);
}

/// The error function: x + x P(x^2) near zero, 1 - e^(t Q(t) - t) with t = |x| beyond.
template <class F>
FIGMENT_DEVICE F erf(F x) {
  const F t = abs(x);
  const F p =
      polynomial(x * x, -5.964247975498438e-4f, 4.988003056496382e-3f, -2.6763122528791428e-2f,
                 1.1281721293926239e-1f, -3.7612485885620117e-1f, 1.2837915122509003e-1f);
  const F small = fma(p, x, x);
  const F held = blend(gt(t, F(4.0f)), F(4.0f), t);  // NaN stays
  const F q = polynomial(held, -1.1231853932258673e-5f, 3.22809093631804e-4f,
                         -3.6424794234335423e-3f, 2.376210317015648e-2f, -1.0623691976070404e-1f,
                         -6.351512670516968e-1f, -1.2864848971366882e-1f);
  const F large = F(1.0f) - exp(fma(q, held, -held));
  return copysign(blend(lt(t, F(0.9277f)), small, large), x);
}

/// The remainder of |x| >= 2^15 by pi/2, in [-pi/4, pi/4]; answers the quadrant in `quadrant`.
template <class F>
FIGMENT_DEVICE F reduceLargeAngle(F x, typename F::Int& quadrant) {
  using I = typename F::Int;
  using L = typename F::Long;
  constexpr uint32_t kTwoOverPi[] = {0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0,
                                     0xdb629599, 0x3c439041, 0xfe5163ab};
  const I bits = asInt(x);
  const I exponent = (sar(bits, 23) & I(255)) - I(150);  // |x| = mantissa * 2^exponent
  const I mantissa = (bits & I(0x7fffff)) + I(0x800000);
  // Leading bits of 2/pi whose product with x is a multiple of four quadrants are left out.
  const auto far = gt(exponent, I(2));
  const I skipped = blend(far, exponent - I(2), I(0));
  const I down = blend(far, I(0), I(2) - exponent);
  const I word = sar(skipped, 5), shift = skipped & I(31);
  const auto second = eq(word, I(1)), third = eq(word, I(2)), fourth = eq(word, I(3));
  const auto tableWord = [&](int i) {
    return blend(second, I(int32_t(kTwoOverPi[i + 1])),
                 blend(third, I(int32_t(kTwoOverPi[i + 2])),
                       blend(fourth, I(int32_t(kTwoOverPi[i + 3])), I(int32_t(kTwoOverPi[i])))));
  };
  const I first = tableWord(0), next = tableWord(1), after = tableWord(2), last = tableWord(3);
  const L low = multiply(mantissa, funnelLeft(after, last, shift));
  const L middle = multiply(mantissa, funnelLeft(next, after, shift)) + upperHalf(low);
  const L high = multiply(mantissa, funnelLeft(first, next, shift)) + upperHalf(middle);
  // x mod 2 pi in units of 2 pi / 2^64.
  L turn = shl(high, I(32)) + lowerHalf(middle);
  turn = blend(gt(down, I(0)), shr(turn, down) + shl(upperHalf(high), I(64) - down), turn);
  const I turns = toInt(shr(turn + L(uint64_t(1) << 61), I(62)));
  const F remainder = toFloatSigned(shl(turn, I(2))) * F(0x1.921fb6p-64f);  // pi / 2^65
  const auto negative = lt(x, F(0.0f));
  quadrant = blend(negative, I(0) - turns, turns);
  return blend(negative, -remainder, remainder);
}

template <class F>
struct SinCos {
  F sin, cos;
};

/// Sine and cosine of quadrant * pi/2 + r, |r| <= pi/4.
template <class F>
FIGMENT_DEVICE SinCos<F> sincosReduced(F r, typename F::Int quadrant) {
  using I = typename F::Int;
  const F z = r * r;
  const F s = fma(polynomial(z, -1.9515295891e-4f, 8.3321608736e-3f, -1.6666654611e-1f) * z, r, r);
  const F c = fma(
      polynomial(z, 2.443315711809948e-5f, -1.388731625493765e-3f, 4.166664568298827e-2f, -0.5f), z,
      F(1.0f));
  const auto swapped = eq(quadrant & I(1), I(1));
  const I sign(INT32_MIN);
  return {asFloat(asInt(blend(swapped, c, s)) ^ (shl(quadrant, 30) & sign)),
          asFloat(asInt(blend(swapped, s, c)) ^ (shl(quadrant + I(1), 30) & sign))};
}

template <class F>
FIGMENT_DEVICE SinCos<F> sincos(F x) {
  using I = typename F::Int;
  const F shifter(12582912.0f);
  const F shifted = fma(x, F(0.636619772f), shifter);
  const F n = shifted - shifter;
  I quadrant = variable(asInt(shifted));
  // pi/2 in three parts; the first step is exact, the others round only the remainder.
  F r = fma(-n, F(1.57079637050628662109375f), x);
  r = fma(-n, F(-4.37113900018624283e-8f), r);
  r = variable(fma(-n, F(-1.71512449e-15f), r));
  const F size = abs(x);
  const auto finite = lt(size, infinityOf<F>());
  when(ge(size, F(32768.0f)) & finite, [&] {
    I turns(0);
    const F remainder = reduceLargeAngle(x, turns);
    assign(r, remainder);
    assign(quadrant, turns);
  });
  return sincosReduced(blend(finite, r, nanOf<F>()), quadrant);
}
/// The polynomial alone would turn -0 into 0.
template <class F>
FIGMENT_DEVICE F sin(F x) {
  return blend(eq(x, F(0.0f)), x, sincos(x).sin);
}
template <class F>
FIGMENT_DEVICE F cos(F x) {
  return sincos(x).cos;
}

/// An unevaluated sum; |low| is at most half a unit in the last place of high.
template <class F>
struct TwoFloats {
  F high, low;
};

/// ln x beyond f32 precision for positive normal finite x: with s = f / (2 + f), 2 s (1 + s^2/3 +
/// ...).
template <class F>
FIGMENT_DEVICE TwoFloats<F> logTwoFloats(F x, typename F::Int exponentAdjust) {
  using I = typename F::Int;
  const I rebased = asInt(x) - I(0x3f3504f3);
  const F e = toFloat(sar(rebased, 23) + exponentAdjust);
  const F two(2.0f);
  const F f = asFloat((rebased & I(0x7fffff)) + I(0x3f3504f3)) - F(1.0f);
  const F divisor = f + two;
  const F divisorLow = f - (divisor - two);
  const F s = f / divisor;
  const F sLow = (fma(-s, divisor, f) - s * divisorLow) / divisor;
  const F z = s * s;
  const F zLow = fma(s, s, -z) + two * s * sLow;
  const F third(0.333333343f), thirdLow(-9.93410776e-9f);
  const F cubic = z * third;
  const F cubicLow = fma(z, third, -cubic) + z * thirdLow + zLow * third;
  const F rest = z * z *
                 polynomial(z, 7.6923076923e-2f, 9.0909090909e-2f, 1.1111111111e-1f,
                            1.4285714286e-1f, 2.0000000000e-1f);
  const F c = cubic + rest;
  const F cLow = (cubic - c) + rest + cubicLow;
  const F product = s * c;
  const F productLow = fma(s, c, -product) + s * cLow + sLow * c;
  const F half = s + product;
  const F halfLow = (s - half) + product + productLow + sLow;
  const F mantissa = half + half, mantissaLow = halfLow + halfLow;
  const F whole = e * F(0.693359375f);  // exact: nine bits
  const F sum = whole + mantissa;
  const F part = sum - whole;
  const F lost = (whole - (sum - part)) + (mantissa - part);
  const F low = fma(e, F(-2.12194440e-4f), lost + mantissaLow);
  const F high = sum + low;
  return {high, (sum - high) + low};
}

/// x^y as IEEE 754 and C define it, special cases included.
template <class F>
FIGMENT_DEVICE F pow(F x, F y) {
  using I = typename F::Int;
  const F zero(0.0f), one(1.0f);
  const F infinity = infinityOf<F>();
  const F base = abs(x);
  const auto tiny = lt(base, F(0x1p-126f));
  const TwoFloats<F> log =
      logTwoFloats(blend(tiny, base * F(33554432.0f), base), blend(tiny, I(-25), I(0)));
  // e^(w + wLow); beyond the bounds the result is 0 or infinity whatever wLow is.
  F w = y * log.high;
  const F wLow = blend(lt(abs(w), F(200.0f)), fma(y, log.high, -w) + y * log.low, zero);
  w = min(F(89.0f), max(F(-104.0f), w));
  const F shifter(12582912.0f);
  const F shifted = fma(w, F(1.44269504f), shifter);
  const F n = shifted - shifter;
  const I exponent = asInt(shifted) - asInt(shifter);
  F r = fma(-n, F(0.693359375f), w);
  r = fma(-n, F(-2.12194440e-4f), r) + wLow;
  const F p = polynomial(r, 1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f,
                         1.6666665459e-1f, 5.0000001201e-1f);
  const I half = sar(exponent, 1);
  const I bias(127);
  F result = (fma(p, r * r, r) + one) * asFloat(shl(half + bias, 23)) *
             asFloat(shl(exponent - half + bias, 23));
  const auto rising = gt(y, zero);
  result = blend(eq(base, zero), blend(rising, zero, infinity), result);
  result = blend(eq(base, infinity), blend(rising, infinity, zero), result);
  result = blend(eq(base, one), one, result);
  const auto whole = eq(floor(y), y);
  const F halved = y * F(0.5f);
  const auto odd = whole & ne(floor(halved), halved);
  result = blend(odd, copysign(result, x), result);
  const auto imaginary = lt(x, zero) & gt(x, -infinity) & ~whole;
  result = blend(imaginary | ne(x, x) | ne(y, y), nanOf<F>(), result);
  return blend(eq(x, one) | eq(y, zero), one, result);
}

/// x mod y for 0 <= x and x / y below 2^22: the quotient is off by one at most, each step is exact.
template <class F>
FIGMENT_DEVICE F remainderOfFew(F x, F y) {
  F result = fma(-floor(x / y), y, x);
  result = blend(lt(result, F(0.0f)), result + y, result);
  result = blend(ge(result, y), result - y, result);
  return blend(lt(x, y), x, result);
}

/// a - b trunc(a / b), exactly; the sign is the dividend's.
template <class F>
FIGMENT_DEVICE F rem(F a, F b) {
  const F x = abs(a), y = abs(b);
  const F most(0x1p22f), infinity = infinityOf<F>();
  const auto defined = lt(x, infinity) & gt(y, F(0.0f));
  F left = variable(x);
  // The remainder by multiples of y first, each 2^20 times the next: it has the same remainder by
  // y.
  when(defined & ge(x / y, most), [&] {
    F::repeatWhile([&] { return ge(left / y, most); },
                   [&] {
                     F multiple = variable(y);
                     F::repeatWhile([&] { return ge(left / multiple, most); },
                                    [&] { assign(multiple, multiple * F(0x1p20f)); });
                     assign(left, remainderOfFew(left, multiple));
                   });
  });
  return blend(defined, copysign(remainderOfFew(left, y), a), nanOf<F>());
}

}  // namespace figment::cuda::sequences
