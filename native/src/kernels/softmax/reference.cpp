// The plain softmax, its logarithm and their derivatives, the oracle of the variants: one row at a
// time, sums in f64.
// A row that holds +Inf or only −Inf gives NaN, as ∞ − ∞ does.
#include "../reference.h"

#include <cmath>
#include <limits>

#include "../params/logSoftmax.generated.h"
#include "../params/logSoftmaxGrad.generated.h"
#include "../params/softmax.generated.h"
#include "../params/softmaxGrad.generated.h"

namespace figment {
namespace {

template <class T>
double rowMaximum(const T* x, int64_t cols) {
  double highest = -std::numeric_limits<double>::infinity();
  for (int64_t j = 0; j < cols; j++) highest = x[j] > highest ? double(x[j]) : highest;
  return highest;
}

template <class T>
double rowExponentials(const T* x, double highest, int64_t cols) {
  double sum = 0;
  for (int64_t j = 0; j < cols; j++) sum += std::exp(double(x[j]) - highest);
  return sum;
}

struct Softmax {
  template <class T>
  static void row(const T* x, T* y, int64_t cols) {
    const double highest = rowMaximum(x, cols);
    const double sum = rowExponentials(x, highest, cols);
    for (int64_t j = 0; j < cols; j++) y[j] = T(std::exp(double(x[j]) - highest) / sum);
  }
};

struct LogSoftmax {
  template <class T>
  static void row(const T* x, T* y, int64_t cols) {
    const double highest = rowMaximum(x, cols);
    const double logSum = std::log(rowExponentials(x, highest, cols));
    for (int64_t j = 0; j < cols; j++) y[j] = T((double(x[j]) - highest) - logSum);
  }
};

struct SoftmaxGrad {
  template <class T>
  static void row(const T* y, const T* dy, T* dx, int64_t cols) {
    double dot = 0;
    for (int64_t j = 0; j < cols; j++) dot += double(y[j]) * double(dy[j]);
    for (int64_t j = 0; j < cols; j++) dx[j] = T(double(y[j]) * (double(dy[j]) - dot));
  }
};

struct LogSoftmaxGrad {
  template <class T>
  static void row(const T* y, const T* dy, T* dx, int64_t cols) {
    double sum = 0;
    for (int64_t j = 0; j < cols; j++) sum += double(dy[j]);
    for (int64_t j = 0; j < cols; j++) dx[j] = T(double(dy[j]) - std::exp(double(y[j])) * sum);
  }
};

template <class Op, class P, class T>
void forward(const OpCall& call, Context& context) {
  const P& p = call.as<P>();
  const T* x = call.in[0].as<const T>();
  T* y = call.out[0].as<T>();
  context.parallelFor(p.rows, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++) Op::row(x + r * p.cols, y + r * p.cols, p.cols);
  });
}

template <class Op, class P, class T>
void backward(const OpCall& call, Context& context) {
  const P& p = call.as<P>();
  const T* y = call.in[0].as<const T>();
  const T* dy = call.in[1].as<const T>();
  T* dx = call.out[0].as<T>();
  context.parallelFor(p.rows, 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t r = begin; r < end; r++)
      Op::row(y + r * p.cols, dy + r * p.cols, dx + r * p.cols, p.cols);
  });
}

template <class Op, class P>
constexpr Variant forwardOf(const char* op) {
  return referenceVariant(op, byWidened<forward<Op, P, float>, forward<Op, P, double>>);
}
template <class Op, class P>
constexpr Variant backwardOf(const char* op) {
  return referenceVariant(op, byWidened<backward<Op, P, float>, backward<Op, P, double>>);
}

const RegisterVariant softmax{forwardOf<Softmax, SoftmaxParams>("softmax")};
const RegisterVariant softmaxGrad{backwardOf<SoftmaxGrad, SoftmaxGradParams>("softmaxGrad")};
const RegisterVariant logSoftmax{forwardOf<LogSoftmax, LogSoftmaxParams>("logSoftmax")};
const RegisterVariant logSoftmaxGrad{
    backwardOf<LogSoftmaxGrad, LogSoftmaxGradParams>("logSoftmaxGrad")};

}  // namespace
}  // namespace figment
