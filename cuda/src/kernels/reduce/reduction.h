// A reduction with its dimensions merged, as kernels see it.
#pragma once

#include <limits>

#include "../../device/warp.h"
#include "kernels/params/reduce.generated.h"
#include "kernels/reduce/shape.h"

namespace figment::cuda {

/// Indices that are numbered row-major and map to offsets in the input.
struct Indices {
  int rank;
  int64_t count;
  int64_t dims[kMaxRank], strides[kMaxRank];

  explicit Indices(const reduce::IndexSet& set)
      : rank(set.rank), count(set.count), dims(), strides() {
    for (int i = 0; i < rank; i++) {
      dims[i] = set.dims[i];
      strides[i] = set.strides[i];
    }
  }
  FIGMENT_DEVICE int64_t offset(int64_t index) const {
    int64_t offset = 0;
    // Long divisions, which a compiler that unrolls the loop repeats in each kernel.
    FIGMENT_UNROLL_BY(1)
    for (int d = rank - 1; d > 0; d--) {
      offset += index % dims[d] * strides[d];
      index /= dims[d];
    }
    return rank > 0 ? offset + index * strides[0] : 0;
  }
};

struct ReductionShape {
  Indices kept, reduced;  ///< without the fastest dimension
  int64_t last;
  bool lastReduced;

  explicit ReductionShape(const OpCall& call)
      : ReductionShape(reduce::mergeShape(call.in[0], call.as<ReduceParams>().axes)) {}
  explicit ReductionShape(const reduce::Shape& shape)
      : kept(shape.kept),
        reduced(shape.reduced),
        last(shape.last),
        lastReduced(shape.lastReduced) {}

  /// Elements that one output is made of.
  FIGMENT_BOTH int64_t terms() const { return reduced.count * (lastReduced ? last : 1); }
  FIGMENT_DEVICE int64_t firstOf(int64_t output) const {
    return lastReduced ? kept.offset(output) : kept.offset(output / last) + output % last;
  }
  FIGMENT_DEVICE int64_t termAt(int64_t term) const {
    return lastReduced ? reduced.offset(term / last) + term % last : reduced.offset(term);
  }
};

// The kinds of reduction, as what two elements become.
template <class T>
struct Total : Sum {
  FIGMENT_DEVICE T identity() const { return T(0); }
};
/// The greatest or the least element, which kernels learn when they run: they wait for memory.
template <class T>
struct Extreme {
  bool least;

  FIGMENT_DEVICE T identity() const {
    using Limits = std::numeric_limits<T>;
    if constexpr (Limits::has_infinity)
      return least ? Limits::infinity() : -Limits::infinity();
    else
      return least ? Limits::max() : Limits::min();
  }
  FIGMENT_DEVICE T operator()(T a, T b) const { return least ? Minimum()(a, b) : Maximum()(a, b); }
};

/// Calls f.template operator()<T>(combine) for the call's kind and format. Integer sums wrap, hence
/// their unsigned elements.
template <class F>
void forReduction(const OpCall& call, F&& f) {
  const auto kind = reduce::Kind(call.as<ReduceParams>().kind);
  const auto as = [&]<class T, class SumOf>() {
    if (kind == reduce::Kind::kSum) return f.template operator()<SumOf>(Total<SumOf>());
    f.template operator()<T>(Extreme<T>{kind == reduce::Kind::kMin});
  };
  switch (call.in[0].format) {
    case Format::f32:
      return as.template operator()<float, float>();
    case Format::f64:
      return as.template operator()<double, double>();
    default:
      return as.template operator()<int32_t, uint32_t>();
  }
}

}  // namespace figment::cuda
