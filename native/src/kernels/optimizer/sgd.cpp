// sgd: stochastic gradient descent over many tensors, with momentum b (Polyak, 1964) when buffered
// = 1 and Nesterov's look-ahead on request, as in Sutskever et al. (2013) with the learning rate
// outside:
//   g ← g·gradScale + weightDecay·p,  b ← momentum·b + g,
//   p ← p − lr·d with d = g + momentum·b (nesterov), b (buffered) or g
//
// The plain sgd, the oracle of the variants: one tensor after another, arithmetic in f64.
#include "../op_spec.h"
#include "../params/sgd.generated.h"
#include "../reference.h"
#include "groups.h"

namespace figment {
namespace {

constexpr int32_t kScalars = 2;  // lr, gradScale

std::string checkSgd(const OpCall& call) {
  const auto& p = call.as<SgdParams>();
  const int64_t count = p.count, states = p.buffered == 1 ? 1 : 0;
  DenseCheck check("sgd", call, kScalars + (2 + states) * count, (1 + states) * count);
  check.require(countInRange(p.count), "count is out of range")
      .require(p.buffered == 0 || p.buffered == 1, "buffered is 0 or 1")
      .require(p.nesterov == 0 || (p.nesterov == 1 && p.buffered == 1),
               "nesterov is 0, or 1 with a buffer");
  checkGroups(check, call, kScalars, count, states, check.floating(0));
  return check.done();
}

bool inPlace(const OpCall& call, int out, int in) {
  return updatesInPlace(kScalars, call.as<SgdParams>().count, out, in);
}

Cost cost(const OpCall& call) { return {4.0 * outputElements(call), operandBytes(call)}; }

const RegisterOp sgdOp{specOf<SgdParams>("sgd", checkSgd, inPlace, cost)};

template <class T>
void runSgd(const OpCall& call, Context& context) {
  constexpr int64_t kGrain = 4096;
  const auto& p = call.as<SgdParams>();
  const double lr = double(*call.in[0].as<const T>());
  const double gradScale = double(*call.in[1].as<const T>());
  const Operand *params = call.in + 2, *grads = params + p.count, *buffers = grads + p.count;
  for (int32_t t = 0; t < p.count; t++) {
    const T *w = params[t].as<const T>(), *g = grads[t].as<const T>();
    const T* b = p.buffered ? buffers[t].as<const T>() : nullptr;
    T* w2 = call.out[t].as<T>();
    T* b2 = p.buffered ? call.out[p.count + t].as<T>() : nullptr;
    context.parallelFor(params[t].elements(), kGrain, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; i++) {
        const double weight = double(w[i]);
        const double grad = double(g[i]) * gradScale + p.weightDecay * weight;
        double direction = grad;
        if (b) {
          const double buffer = p.momentum * double(b[i]) + grad;
          direction = p.nesterov ? grad + p.momentum * buffer : buffer;
          b2[i] = T(buffer);
        }
        w2[i] = T(weight - lr * direction);
      }
    });
  }
}

const RegisterVariant sgdReference{referenceVariant("sgd", byFloat<runSgd<float>, runSgd<double>>)};

}  // namespace
}  // namespace figment
