// One line along the axis after the other.
#include "../reference.h"

#include <type_traits>

#include "../params/cumsum.generated.h"

namespace figment {
namespace {

/// Integer sums wrap, hence the unsigned accumulator.
template <class T>
using Sum = std::conditional_t<std::is_integral_v<T>, uint32_t, double>;

template <class T>
void run(const OpCall& call, Context& context) {
  const auto& p = call.as<CumsumParams>();
  const T* x = call.in[0].as<T>();
  T* y = call.out[0].as<T>();
  if (p.axis == 0) return;
  constexpr int64_t kGrain = 16384;
  context.parallelFor(p.outer * p.inner, kGrain / p.axis, [&](int64_t begin, int64_t end, int) {
    for (int64_t line = begin; line < end; line++) {
      const int64_t start = line / p.inner * p.axis * p.inner + line % p.inner;
      Sum<T> sum = 0;
      for (int64_t k = 0; k < p.axis; k++) {
        const int64_t at = start + (p.reverse != 0 ? p.axis - 1 - k : k) * p.inner;
        const Sum<T> before = sum;
        sum += Sum<T>(x[at]);
        y[at] = T(p.exclusive != 0 ? before : sum);
      }
    }
  });
}

const RegisterVariant registerVariant{
    referenceVariant("cumsum", byNumber<run<float>, run<double>, run<int32_t>>)};

}  // namespace
}  // namespace figment
