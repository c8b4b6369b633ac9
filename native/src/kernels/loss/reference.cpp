// The plain cross entropy and its derivative, the oracle of the variants: sums in f64.
#include "../reference.h"

#include <cmath>
#include <limits>

#include "../params/crossEntropy.generated.h"
#include "../params/crossEntropyGrad.generated.h"
#include "label.h"

namespace figment {
namespace {

template <class T>
double logSumExp(const T* x, int64_t cols) {
  double highest = -std::numeric_limits<double>::infinity();
  for (int64_t j = 0; j < cols; j++) highest = x[j] > highest ? double(x[j]) : highest;
  double sum = 0;
  for (int64_t j = 0; j < cols; j++) sum += std::exp(double(x[j]) - highest);
  return highest + std::log(sum);
}

template <class T>
void runForward(const OpCall& call, Context& context) {
  const auto& p = call.as<CrossEntropyParams>();
  const T* logits = call.in[0].as<const T>();
  const int32_t* labels = call.in[1].as<const int32_t>();
  T* loss = call.out[0].as<T>();
  T* lse = call.out[1].as<T>();
  if (!labelsInRange(labels, p.rows, p.cols, context)) return;
  context.parallelFor(p.rows, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      const double value = logSumExp(logits + r * p.cols, p.cols);
      lse[r] = T(value);
      loss[r] = T(value - double(logits[r * p.cols + labels[r]]));
    }
  });
}

template <class T>
void runBackward(const OpCall& call, Context& context) {
  const auto& p = call.as<CrossEntropyGradParams>();
  const T* logits = call.in[0].as<const T>();
  const int32_t* labels = call.in[1].as<const int32_t>();
  const T* lse = call.in[2].as<const T>();
  const T* dloss = call.in[3].as<const T>();
  T* dlogits = call.out[0].as<T>();
  if (!labelsInRange(labels, p.rows, p.cols, context)) return;
  context.parallelFor(p.rows, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) {
      for (int64_t j = 0; j < p.cols; j++) {
        const double probability = std::exp(double(logits[r * p.cols + j]) - double(lse[r]));
        dlogits[r * p.cols + j] = T((probability - (j == labels[r] ? 1 : 0)) * double(dloss[r]));
      }
    }
  });
}

const RegisterVariant forward{
    referenceVariant("crossEntropy", byWidened<runForward<float>, runForward<double>>)};
const RegisterVariant backward{
    referenceVariant("crossEntropyGrad", byWidened<runBackward<float>, runBackward<double>>)};

}  // namespace
}  // namespace figment
