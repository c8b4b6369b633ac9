// rmsprop over many tensors (Tieleman & Hinton, 2012; the centred form of Graves, 2013, eq. 38–45):
//   g ← g·gradScale + weightDecay·p,  s ← alpha·s + (1−alpha)·g²,
//   m ← alpha·m + (1−alpha)·g and a = √(s − m²) + eps when centered = 1, a = √s + eps otherwise,
//   b ← momentum·b + g/a and p ← p − lr·b when buffered = 1, p ← p − lr·g/a otherwise
// The states are s, then m, then b. s − m² is not negative but for rounding, and taken as 0 then.
//
// The plain rmsprop, the oracle of the variants: one tensor after another, arithmetic in f64.
#include <cmath>

#include "../op_spec.h"
#include "../params/rmsprop.generated.h"
#include "../reference.h"
#include "groups.h"

namespace figment {
namespace {

constexpr int32_t kScalars = 2;  // lr, gradScale

std::string checkRmsprop(const OpCall& call) {
  const auto& p = call.as<RmspropParams>();
  const int64_t count = p.count, states = 1 + int64_t(p.centered == 1) + int64_t(p.buffered == 1);
  DenseCheck check("rmsprop", call, kScalars + (2 + states) * count, (1 + states) * count);
  check.require(countInRange(p.count), "count is out of range")
      .require(p.centered == 0 || p.centered == 1, "centered is 0 or 1")
      .require(p.buffered == 0 || p.buffered == 1, "buffered is 0 or 1");
  checkGroups(check, call, kScalars, count, states, check.floating(0));
  return check.done();
}

bool inPlace(const OpCall& call, int out, int in) {
  return updatesInPlace(kScalars, call.as<RmspropParams>().count, out, in);
}

Cost cost(const OpCall& call) { return {6.0 * outputElements(call), operandBytes(call)}; }

const RegisterOp rmspropOp{specOf<RmspropParams>("rmsprop", checkRmsprop, inPlace, cost)};

template <class T>
void runRmsprop(const OpCall& call, Context& context) {
  constexpr int64_t kGrain = 4096;
  const auto& p = call.as<RmspropParams>();
  const double lr = double(*call.in[0].as<const T>());
  const double gradScale = double(*call.in[1].as<const T>());
  const int32_t count = p.count, bufferGroup = p.centered ? 2 : 1;
  const Operand *params = call.in + 2, *grads = params + count, *states = grads + count;
  for (int32_t t = 0; t < count; t++) {
    const T *w = params[t].as<const T>(), *g = grads[t].as<const T>(), *s = states[t].as<const T>();
    const T* m = p.centered ? states[count + t].as<const T>() : nullptr;
    const T* b = p.buffered ? states[bufferGroup * count + t].as<const T>() : nullptr;
    T *w2 = call.out[t].as<T>(), *s2 = call.out[count + t].as<T>();
    T* m2 = p.centered ? call.out[2 * count + t].as<T>() : nullptr;
    T* b2 = p.buffered ? call.out[(1 + bufferGroup) * count + t].as<T>() : nullptr;
    context.parallelFor(params[t].elements(), kGrain, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) {
        const double weight = double(w[i]);
        const double grad = double(g[i]) * gradScale + p.weightDecay * weight;
        const double square = p.alpha * double(s[i]) + (1 - p.alpha) * grad * grad;
        double variance = square;
        if (m) {
          const double mean = p.alpha * double(m[i]) + (1 - p.alpha) * grad;
          variance -= mean * mean;
          if (variance < 0) variance = 0;
          m2[i] = T(mean);
        }
        double direction = grad / (std::sqrt(variance) + p.eps);
        if (b) {
          direction += p.momentum * double(b[i]);
          b2[i] = T(direction);
        }
        w2[i] = T(weight - lr * direction);
        s2[i] = T(square);
      }
    });
  }
}

const RegisterVariant rmspropReference{
    referenceVariant("rmsprop", byFloat<runRmsprop<float>, runRmsprop<double>>)};

}  // namespace
}  // namespace figment
