// The transforms of winograd_matrices.h on vectors, each lane a channel. Rows of a pair of points
// ±p share their even and odd parts, so that an axis takes 12 multiply-adds for four results.
// Include only from files compiled for one instruction set.
#pragma once

#include "kernels/conv/winograd_matrices.h"
#include "kernels/gemm/tile.inl.h"

namespace figment::FIGMENT_ISA::conv {

using gemm::multiplyAdd;  // NOLINT: one vocabulary, three folders

FIGMENT_INLINE F32 constant(winograd::Rational value) { return F32::broadcast(value.rounded()); }

/// v = B d along one axis.
template <int kResults>
FIGMENT_INLINE void transformSource(const F32 (&d)[kResults + 2], F32 (&v)[kResults + 2]) {
  constexpr auto& b = winograd::kMatrices<kResults>.b;
  if constexpr (kResults == 2) {
    v[0] = d[2] - d[0];
    v[1] = d[2] + d[1];
    v[2] = d[2] - d[1];
    v[3] = d[3] - d[1];
  } else {
    // b[1] = (0, −pq², −q², p, 1, 0) for the points ±p and ±q, b[3] likewise with p and q
    // exchanged.
    const F32 nearEven = multiplyAdd(constant(b[1][2]), d[2], d[4]);
    const F32 nearOdd = multiplyAdd(constant(b[1][2]), d[1], d[3]);
    const F32 farEven = multiplyAdd(constant(b[3][2]), d[2], d[4]);
    const F32 farOdd = multiplyAdd(constant(b[3][2]), d[1], d[3]);
    v[0] = multiplyAdd(constant(b[0][0]), d[0], multiplyAdd(constant(b[0][2]), d[2], d[4]));
    v[1] = multiplyAdd(constant(b[1][3]), nearOdd, nearEven);
    v[2] = multiplyAdd(constant(b[2][3]), nearOdd, nearEven);
    v[3] = multiplyAdd(constant(b[3][3]), farOdd, farEven);
    v[4] = multiplyAdd(constant(b[4][3]), farOdd, farEven);
    v[5] = multiplyAdd(constant(b[5][1]), d[1], multiplyAdd(constant(b[5][3]), d[3], d[5]));
  }
}

/// u = G g along one axis.
template <int kResults>
FIGMENT_INLINE void transformWeights(const F32 (&g)[3], F32 (&u)[kResults + 2]) {
  constexpr auto& m = winograd::kMatrices<kResults>.g;
  u[0] = constant(m[0][0]) * g[0];
#pragma GCC unroll 2
  for (int i = 1; i <= kResults; i += 2) {
    const F32 even = multiplyAdd(constant(m[i][2]), g[2], constant(m[i][0]) * g[0]);
    u[i] = multiplyAdd(constant(m[i][1]), g[1], even);
    u[i + 1] = multiplyAdd(constant(m[i + 1][1]), g[1], even);
  }
  u[kResults + 1] = g[2];
}

/// y = A m along one axis.
template <int kResults>
FIGMENT_INLINE void transformSums(const F32 (&m)[kResults + 2], F32 (&y)[kResults]) {
  constexpr auto& a = winograd::kMatrices<kResults>.a;
  const F32 nearEven = m[1] + m[2], nearOdd = m[1] - m[2];
  if constexpr (kResults == 2) {
    y[0] = m[0] + nearEven;
    y[1] = m[3] + nearOdd;
  } else {
    const F32 farEven = m[3] + m[4], farOdd = m[3] - m[4];
    y[0] = m[0] + nearEven + farEven;
    y[1] = multiplyAdd(constant(a[1][3]), farOdd, constant(a[1][1]) * nearOdd);
    y[2] = multiplyAdd(constant(a[2][3]), farEven, constant(a[2][1]) * nearEven);
    y[3] = multiplyAdd(constant(a[3][3]), farOdd, multiplyAdd(constant(a[3][1]), nearOdd, m[5]));
  }
}

/// z = Aᵀ y along one axis.
template <int kResults>
FIGMENT_INLINE void transformResults(const F32 (&y)[kResults], F32 (&z)[kResults + 2]) {
  constexpr auto& a = winograd::kMatrices<kResults>.a;
  z[0] = y[0];
#pragma GCC unroll 2
  for (int i = 1; i <= kResults; i += 2) {
    F32 even = y[0], odd = constant(a[1][i]) * y[1];
    if constexpr (kResults == 4) {
      even = multiplyAdd(constant(a[2][i]), y[2], even);
      odd = multiplyAdd(constant(a[3][i]), y[3], odd);
    }
    z[i] = even + odd;
    z[i + 1] = even - odd;
  }
  z[kResults + 1] = y[kResults - 1];
}

/// w = Gᵀ u along one axis.
template <int kResults>
FIGMENT_INLINE void transformGradients(const F32 (&u)[kResults + 2], F32 (&w)[3]) {
  constexpr auto& m = winograd::kMatrices<kResults>.g;
  w[0] = constant(m[0][0]) * u[0];
  w[1] = F32::zero();
  w[2] = u[kResults + 1];
#pragma GCC unroll 2
  for (int i = 1; i <= kResults; i += 2) {
    const F32 even = u[i] + u[i + 1], odd = u[i] - u[i + 1];
    w[0] = multiplyAdd(constant(m[i][0]), even, w[0]);
    w[1] = multiplyAdd(constant(m[i][1]), odd, w[1]);
    w[2] = multiplyAdd(constant(m[i][2]), even, w[2]);
  }
}

/// Both axes of a block that `load(y, x)` reads and `store(y, x, value)` takes: `down` transforms
/// columns of kInY to kOutY, `across` rows of kInX to kOutX.
template <int kInY, int kInX, int kOutY, int kOutX, class Down, class Across, class Load,
          class Store>
FIGMENT_INLINE void bothAxes(Down down, Across across, Load load, Store store) {
  F32 between[kOutY][kInX];
#pragma GCC unroll 6
  for (int x = 0; x < kInX; x++) {
    F32 from[kInY], to[kOutY];
#pragma GCC unroll 6
    for (int y = 0; y < kInY; y++) from[y] = load(y, x);
    down(from, to);
#pragma GCC unroll 6
    for (int y = 0; y < kOutY; y++) between[y][x] = to[y];
  }
#pragma GCC unroll 6
  for (int y = 0; y < kOutY; y++) {
    F32 to[kOutX];
    across(between[y], to);
#pragma GCC unroll 6
    for (int x = 0; x < kOutX; x++) store(y, x, to[x]);
  }
}

}  // namespace figment::FIGMENT_ISA::conv
