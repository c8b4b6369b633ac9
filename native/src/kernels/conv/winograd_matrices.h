// Winograd's minimal filtering F(m, 3) (Winograd 1980; for convolutions Lavin & Gray 2016, eq. 5):
// m results of a filter of three taps from m + 2 products,
//   y = A [(G g) ∘ (B d)],   y_k = Σ_j g_j d_{k+j},
// and nested, m × n results of 3×3 taps from (m + 2)(n + 2). The matrices follow from m + 1 points
// and infinity: products are values of polynomials at the points (Toom-Cook), transposed. They are
// derived here in rational numbers, and that the identity holds exactly is checked as this
// compiles.
#pragma once

#include <cstdint>

namespace figment::winograd {

struct Rational {
  int64_t over = 0, under = 1;

  constexpr Rational() = default;
  constexpr Rational(int64_t a, int64_t b = 1) : over(b < 0 ? -a : a), under(b < 0 ? -b : b) {
    int64_t x = over < 0 ? -over : over, y = under;
    while (y != 0) {
      const int64_t rest = x % y;
      x = y;
      y = rest;
    }
    over /= x;
    under /= x;
  }
  constexpr Rational operator+(Rational b) const {
    return {over * b.under + b.over * under, under * b.under};
  }
  constexpr Rational operator-(Rational b) const { return *this + Rational(-b.over, b.under); }
  constexpr Rational operator*(Rational b) const { return {over * b.over, under * b.under}; }
  constexpr Rational operator/(Rational b) const { return {over * b.under, under * b.over}; }
  constexpr bool operator==(Rational b) const { return over == b.over && under == b.under; }
  constexpr float rounded() const { return float(double(over) / double(under)); }
  /// Whether f32 holds it: a power of two under the line, few bits above.
  constexpr bool exact() const {
    return (under & (under - 1)) == 0 && (over < 0 ? -over : over) < (1 << 24);
  }
};

template <int kResults>
struct Matrices {
  static constexpr int kSide = kResults + 2;  ///< products, and elements of d
  Rational a[kResults][kSide];
  Rational g[kSide][3];
  Rational b[kSide][kSide];
};

/// From all points but infinity, which comes last.
template <int kResults>
constexpr Matrices<kResults> derive(const Rational (&points)[kResults + 1]) {
  constexpr int kPoints = kResults + 1;
  Matrices<kResults> m;
  for (int i = 0; i < kPoints; i++) {
    // Lagrange's basis polynomial: the numerator, by coefficients, goes to B, the rest to G.
    Rational scale = 1;
    m.b[i][0] = 1;
    int degree = 0;
    for (int j = 0; j < kPoints; j++) {
      if (j == i) continue;
      scale = scale * (points[i] - points[j]);
      degree++;
      for (int t = degree; t >= 0; t--)
        m.b[i][t] = (t > 0 ? m.b[i][t - 1] : Rational()) - points[j] * m.b[i][t];
    }
    Rational power = 1;
    for (int t = 0; t < 3; t++, power = power * points[i]) m.g[i][t] = power / scale;
    power = 1;
    for (int t = 0; t < kResults; t++, power = power * points[i]) m.a[t][i] = power;
  }
  m.b[kPoints][0] = 1;
  for (int j = 0; j < kPoints; j++)
    for (int t = j + 1; t >= 0; t--)
      m.b[kPoints][t] = (t > 0 ? m.b[kPoints][t - 1] : Rational()) - points[j] * m.b[kPoints][t];
  m.g[kPoints][2] = 1;
  m.a[kResults - 1][kPoints] = 1;
  return m;
}

/// Whether A [(G g) ∘ (B d)] is the filter, coefficient by coefficient.
template <int kResults>
constexpr bool filters(const Matrices<kResults>& m) {
  for (int k = 0; k < kResults; k++)
    for (int j = 0; j < 3; j++)
      for (int t = 0; t < m.kSide; t++) {
        Rational sum;
        for (int i = 0; i < m.kSide; i++) sum = sum + m.a[k][i] * m.g[i][j] * m.b[i][t];
        if (!(sum == Rational(t == k + j ? 1 : 0))) return false;
      }
  return true;
}

/// Whether sources and sums are transformed with coefficients that f32 holds.
template <int kResults>
constexpr bool exactOutside(const Matrices<kResults>& m) {
  for (int i = 0; i < m.kSide; i++) {
    for (int k = 0; k < kResults; k++)
      if (!m.a[k][i].exact()) return false;
    for (int t = 0; t < m.kSide; t++)
      if (!m.b[i][t].exact()) return false;
  }
  return true;
}

/// The points: 0 and pairs ±p. Of the pairs of pairs with small denominators these magnify rounding
/// least, by 4.8 for random data in two dimensions; ±1/2 and ±3/2 do by 6.0, ±1 and ±2 by 10.8.
template <int kResults>
struct Points;
template <>
struct Points<2> {
  static constexpr Rational kNear = 1;
  static constexpr Rational kAll[] = {0, kNear, Rational() - kNear};
};
template <>
struct Points<4> {
  static constexpr Rational kNear{5, 8}, kFar{3, 2};
  static constexpr Rational kAll[] = {0, kNear, Rational() - kNear, kFar, Rational() - kFar};
};

template <int kResults>
constexpr Matrices<kResults> kMatrices = derive<kResults>(Points<kResults>::kAll);

static_assert(filters(kMatrices<2>) && exactOutside(kMatrices<2>));
static_assert(filters(kMatrices<4>) && exactOutside(kMatrices<4>));

}  // namespace figment::winograd
