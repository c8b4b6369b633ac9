// One output after the other, along the axis.
#include "../reference.h"

#include "../params/argReduce.generated.h"
#include "arg_reduce.h"

namespace figment {
namespace {

template <class T>
void run(const OpCall& call, Context& context) {
  const auto& p = call.as<ArgReduceParams>();
  const T* x = call.in[0].as<T>();
  int32_t* y = call.out[0].as<int32_t>();
  constexpr int64_t kGrain = 64;
  context.parallelFor(p.outer * p.inner, kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t o = begin; o < end; o++) {
      const T* from = x + o / p.inner * p.axis * p.inner + o % p.inner;
      int64_t best = 0;
      for (int64_t a = 1; a < p.axis; a++) {
        const T value = from[a * p.inner], held = from[best * p.inner];
        if (held != held) break;
        if (value != value || (p.kind == kArgMax ? value > held : value < held)) best = a;
      }
      y[o] = int32_t(best);
    }
  });
}

const RegisterVariant registerVariant{
    referenceVariant("argReduce", byNumber<run<float>, run<double>, run<int32_t>>)};

}  // namespace
}  // namespace figment
