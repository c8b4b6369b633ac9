// Which loaders a kernel is compiled for.
#pragma once

#include "../../device/four.h"
#include "work.h"

namespace figment::cuda {

/// A's and B's loaders, and whether the lines of their tiles go along the depth.
template <template <int, int, int> class A, bool alongA, template <int, int, int> class B,
          bool alongB>
struct Loaders {
  template <int v, int count, int step>
  using LoaderA = A<v, count, step>;
  template <int v, int count, int step>
  using LoaderB = B<v, count, step>;
  static constexpr bool kAlongA = alongA, kAlongB = alongB;
  using FactorA = typename A<8, 1, 1>::Factor;
  using FactorB = typename B<8, 1, 1>::Factor;
};
using ForwardLoaders = Loaders<WindowRows, true, MatrixRows, true>;
using BackwardLoaders = Loaders<WindowRows, true, TapColumns, false>;
using WeightLoaders = Loaders<TapColumns, false, WindowColumns, false>;
using TransposedLoaders = Loaders<TapColumns, false, MatrixRows, true>;

/// A work's factors as they are aligned in memory: at multiples of 16 bytes.
struct AlignedFactors {
  WindowFactor window;
  MatrixFactor matrix;
  TapFactor taps;
  bool both;  ///< all that the work's layout has

  AlignedFactors(const Work& work, const WorkOperands& operands)
      : AlignedFactors(work, startsAligned(operands.a), startsAligned(operands.b)) {}
  AlignedFactors(const Work& work, bool aAligned, bool bAligned)
      : window(work.window), matrix(work.matrix), taps(work.taps) {
    const bool windowFirst = work.layout == Layout::forward || work.layout == Layout::backward;
    window.aligned &= windowFirst ? aAligned : bAligned;
    matrix.aligned &= bAligned;
    taps.aligned &= work.layout == Layout::backward ? bAligned : aAligned;
    const int32_t first = windowFirst ? window.aligned : taps.aligned;
    const int32_t second = work.layout == Layout::backward  ? taps.aligned
                           : work.layout == Layout::weights ? window.aligned
                                                            : matrix.aligned;
    both = first && second;
  }
};

/// Whether a work is large tiles of aligned f32 factors.
inline bool largeOfSingles(const Work& work, const Operand& a, const Operand& b,
                           const AlignedFactors& factors) {
  return a.format == Format::f32 && b.format == Format::f32 && factors.both &&
         planOf(work.product).large;
}

/// Calls f.operator()<Loaders>(factor of A, factor of B) for the layout of a work.
template <class F>
void withLoaders(Layout layout, const AlignedFactors& factors, F&& f) {
  switch (layout) {
    case Layout::forward:
      return f.template operator()<ForwardLoaders>(factors.window, factors.matrix);
    case Layout::backward:
      return f.template operator()<BackwardLoaders>(factors.window, factors.taps);
    case Layout::weights:
      return f.template operator()<WeightLoaders>(factors.taps, factors.window);
    default:
      return f.template operator()<TransposedLoaders>(factors.taps, factors.matrix);
  }
}

}  // namespace figment::cuda
