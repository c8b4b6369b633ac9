// One output after the other, its elements in row-major order. Sums of f32 are kept in f64.
#include "../reference.h"

#include <cstdint>
#include <limits>
#include <type_traits>

#include "../params/reduce.generated.h"
#include "shape.h"

namespace figment::reduce {
namespace {

template <class T>
T identity(Kind kind) {
  using Limits = std::numeric_limits<T>;
  if (kind == Kind::kSum) return T(0);
  if constexpr (Limits::has_infinity)
    return kind == Kind::kMax ? -Limits::infinity() : Limits::infinity();
  else
    return kind == Kind::kMax ? Limits::min() : Limits::max();
}

/// Integer sums wrap, hence the unsigned accumulator.
template <class T>
using Sum = std::conditional_t<std::is_integral_v<T>, uint32_t, double>;

template <class T>
T reduceOne(Kind kind, const T* x, const Shape& shape) {
  Sum<T> sum = 0;
  T best = identity<T>(kind);
  const int64_t row = shape.lastReduced ? shape.last : 1;
  for (int64_t r = 0; r < shape.reduced.count; r++) {
    const T* from = x + shape.reduced.offset(r);
    for (int64_t i = 0; i < row; i++) {
      const T value = from[i];
      if (kind == Kind::kSum)
        sum += Sum<T>(value);
      else if (value != value || (kind == Kind::kMax ? value > best : value < best))
        best = value;  // once NaN, no comparison replaces it
    }
  }
  return kind == Kind::kSum ? T(sum) : best;
}

template <class T>
void run(const OpCall& call, Context& context) {
  const ReduceParams& params = call.as<ReduceParams>();
  const Shape shape = mergeShape(call.in[0], params.axes);
  const int64_t columns = shape.lastReduced ? 1 : shape.last;
  const T* x = call.in[0].as<T>();
  T* y = call.out[0].as<T>();
  constexpr int64_t kGrain = 64;
  context.parallelFor(call.out[0].elements(), kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t o = begin; o < end; o++)
      y[o] = reduceOne(Kind(params.kind), x + shape.kept.offset(o / columns) + o % columns, shape);
  });
}

const RegisterVariant registerVariant{
    referenceVariant("reduce", byNumber<run<float>, run<double>, run<int32_t>>)};

}  // namespace
}  // namespace figment::reduce
