// The plain softmax and its derivative, the oracle of the variants: one row at a time, sums in f64.
// A row that holds +Inf or only −Inf gives NaN, as ∞ − ∞ does.
#include <cmath>
#include <limits>

#include "../kernel.h"
#include "../params.generated.h"

namespace figment {
namespace {

template <class T>
void softmaxRow(const T* x, T* y, int64_t cols) {
  double highest = -std::numeric_limits<double>::infinity();
  for (int64_t j = 0; j < cols; j++) highest = x[j] > highest ? double(x[j]) : highest;
  double sum = 0;
  for (int64_t j = 0; j < cols; j++) sum += std::exp(double(x[j]) - highest);
  for (int64_t j = 0; j < cols; j++) y[j] = T(std::exp(double(x[j]) - highest) / sum);
}

template <class T>
void softmaxGradRow(const T* y, const T* dy, T* dx, int64_t cols) {
  double dot = 0;
  for (int64_t j = 0; j < cols; j++) dot += double(y[j]) * double(dy[j]);
  for (int64_t j = 0; j < cols; j++) dx[j] = T(double(y[j]) * (double(dy[j]) - dot));
}

template <class T>
void runSoftmax(const OpCall& call, Context& context) {
  const auto& p = call.as<SoftmaxParams>();
  const T* x = call.in[0].as<const T>();
  T* y = call.out[0].as<T>();
  context.parallelFor(p.rows, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) softmaxRow(x + r * p.cols, y + r * p.cols, p.cols);
  });
}

template <class T>
void runSoftmaxGrad(const OpCall& call, Context& context) {
  const auto& p = call.as<SoftmaxGradParams>();
  const T* y = call.in[0].as<const T>();
  const T* dy = call.in[1].as<const T>();
  T* dx = call.out[0].as<T>();
  context.parallelFor(p.rows, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++)
      softmaxGradRow(y + r * p.cols, dy + r * p.cols, dx + r * p.cols, p.cols);
  });
}

int always(const OpCall&) { return kReferencePreference; }

void softmax(const OpCall& call, Context& context) {
  call.in[0].format == Format::f64 ? runSoftmax<double>(call, context)
                                   : runSoftmax<float>(call, context);
}
void softmaxGrad(const OpCall& call, Context& context) {
  call.in[0].format == Format::f64 ? runSoftmaxGrad<double>(call, context)
                                   : runSoftmaxGrad<float>(call, context);
}

const RegisterVariant forward{{"softmax", "reference", Isa::generic, always, nullptr, softmax}};
const RegisterVariant backward{
    {"softmaxGrad", "reference", Isa::generic, always, nullptr, softmaxGrad}};

}  // namespace
}  // namespace figment
