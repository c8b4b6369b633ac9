// The plain multi-tensor updates, the oracle of the variants: one tensor after another, arithmetic
// in f64.
#include "../reference.h"

#include <cmath>

#include "../params/adam.generated.h"
#include "../params/emaUpdate.generated.h"

namespace figment {
namespace {

/// Elements per task.
constexpr int64_t kGrain = 4096;

template <class T>
void runAdam(const OpCall& call, Context& context) {
  const auto& p = call.as<AdamParams>();
  const double lr = double(*call.in[0].as<const T>());
  const double step = double(*call.in[1].as<const T>());
  const double gradScale = double(*call.in[2].as<const T>());
  const double stepSize = lr / (1 - std::pow(p.beta1, step));
  const double rootCorrection = std::sqrt(1 - std::pow(p.beta2, step));
  const double decay = p.averaged ? double(*call.in[3].as<const T>()) : 0;
  const Operand *params = call.in + 3 + p.averaged, *grads = params + p.count,
                *means = grads + p.count, *squares = means + p.count, *averages = squares + p.count;
  for (int32_t t = 0; t < p.count; t++) {
    const T *w = params[t].as<const T>(), *g = grads[t].as<const T>(), *m = means[t].as<const T>(),
            *v = squares[t].as<const T>();
    T *w2 = call.out[t].as<T>(), *m2 = call.out[p.count + t].as<T>(),
      *v2 = call.out[2 * p.count + t].as<T>();
    const T* a = p.averaged ? averages[t].as<const T>() : nullptr;
    T* a2 = p.averaged ? call.out[3 * p.count + t].as<T>() : nullptr;
    context.parallelFor(params[t].elements(), kGrain, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) {
        double weight = double(w[i]);
        double grad = double(g[i]) * gradScale;
        if (p.decoupled)
          weight -= lr * p.weightDecay * weight;
        else
          grad += p.weightDecay * weight;
        const double mean = p.beta1 * double(m[i]) + (1 - p.beta1) * grad;
        const double square = p.beta2 * double(v[i]) + (1 - p.beta2) * grad * grad;
        w2[i] = T(weight - stepSize * mean / (std::sqrt(square) / rootCorrection + p.eps));
        m2[i] = T(mean);
        v2[i] = T(square);
        if (a) a2[i] = T(decay * double(a[i]) + (1 - decay) * double(w2[i]));
      }
    });
  }
}

template <class T>
void runEma(const OpCall& call, Context& context) {
  const int32_t count = call.as<EmaUpdateParams>().count;
  const double decay = double(*call.in[0].as<const T>());
  for (int32_t t = 0; t < count; t++) {
    const T* target = call.in[1 + t].as<const T>();
    const T* source = call.in[1 + count + t].as<const T>();
    T* out = call.out[t].as<T>();
    context.parallelFor(call.out[t].elements(), kGrain, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++)
        out[i] = T(decay * double(target[i]) + (1 - decay) * double(source[i]));
    });
  }
}

template <class T>
void runSumSquares(const OpCall& call, Context&) {
  double sum = 0;
  for (int t = 0; t < call.inCount; t++) {
    const T* x = call.in[t].as<const T>();
    const int64_t elements = call.in[t].elements();
    for (int64_t i = 0; i < elements; i++) sum += double(x[i]) * double(x[i]);
  }
  *call.out[0].as<T>() = T(sum);
}

const RegisterVariant adamVariant{
    referenceVariant("adam", byFloat<runAdam<float>, runAdam<double>>)};
const RegisterVariant emaVariant{
    referenceVariant("emaUpdate", byFloat<runEma<float>, runEma<double>>)};
const RegisterVariant sumSquaresVariant{
    referenceVariant("sumSquares", byFloat<runSumSquares<float>, runSumSquares<double>>)};

}  // namespace
}  // namespace figment
