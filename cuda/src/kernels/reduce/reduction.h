// A reduction with its dimensions merged, as kernels see it.
#pragma once

#include <limits>
#include <type_traits>

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

// The kinds of reduction: what an element counts as, and how two are combined. Integer sums wrap,
// hence the unsigned accumulator.
template <class T>
struct Total {
  using Kept = std::conditional_t<std::is_integral_v<T>, uint32_t, T>;
  FIGMENT_BOTH static Kept identity() { return Kept(0); }
  FIGMENT_DEVICE Kept operator()(Kept a, Kept b) const { return a + b; }
};
template <class T>
struct Greatest : Maximum {
  using Kept = T;
  FIGMENT_BOTH static constexpr T identity() {
    if constexpr (std::is_integral_v<T>)
      return std::numeric_limits<T>::min();
    else
      return -std::numeric_limits<T>::infinity();
  }
};
template <class T>
struct Least : Minimum {
  using Kept = T;
  FIGMENT_BOTH static constexpr T identity() {
    if constexpr (std::is_integral_v<T>)
      return std::numeric_limits<T>::max();
    else
      return std::numeric_limits<T>::infinity();
  }
};

/// Calls f.template operator()<Combine, T>() for the call's kind and format.
template <class F>
void forReduction(const OpCall& call, F&& f) {
  const auto as = [&]<class T>() {
    switch (reduce::Kind(call.as<ReduceParams>().kind)) {
      case reduce::Kind::kSum:
        return f.template operator()<Total<T>, T>();
      case reduce::Kind::kMax:
        return f.template operator()<Greatest<T>, T>();
      default:
        return f.template operator()<Least<T>, T>();
    }
  };
  switch (call.in[0].format) {
    case Format::f32:
      return as.template operator()<float>();
    case Format::f64:
      return as.template operator()<double>();
    default:
      return as.template operator()<int32_t>();
  }
}

}  // namespace figment::cuda
