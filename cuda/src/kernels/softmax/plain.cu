// softmax, its logarithm and their gradients, one block for each row. A row that holds +Inf or only
// −Inf gives NaN, as ∞ − ∞ does.
#include "../../device/floats.h"
#include "../../device/functions.h"
#include "../../device/warp.h"
#include "kernels/params/logSoftmax.generated.h"
#include "kernels/params/logSoftmaxGrad.generated.h"
#include "kernels/params/softmax.generated.h"
#include "kernels/params/softmaxGrad.generated.h"
#include "plain.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

template <class W, bool kLog>
FIGMENT_KERNEL(kThreads)
forwardKernel(int64_t rows, int64_t cols, Floats<W> x, FloatResults<W> y) {
  const int64_t row = blockInGrid();
  if (row >= rows) return;
  W highest = -W(INFINITY), sum = 0;
  for (int64_t i = threadIdx.x; i < cols; i += kThreads)
    highest = Maximum()(highest, x[row * cols + i]);
  highest = blockReduce<Maximum, kThreads>(highest, -W(INFINITY));
  for (int64_t i = threadIdx.x; i < cols; i += kThreads)
    sum += exponential(x[row * cols + i] - highest);
  sum = blockSum<kThreads>(sum);
  for (int64_t i = threadIdx.x; i < cols; i += kThreads) {
    const W below = x[row * cols + i] - highest;
    y.set(row * cols + i, kLog ? below - logarithm(sum) : exponential(below) / sum);
  }
}

template <class W, bool kLog>
FIGMENT_KERNEL(kThreads)
backwardKernel(int64_t rows, int64_t cols, Floats<W> y, Floats<W> dy, FloatResults<W> dx) {
  const int64_t row = blockInGrid();
  if (row >= rows) return;
  W sum = 0;
  for (int64_t i = threadIdx.x; i < cols; i += kThreads) {
    const int64_t at = row * cols + i;
    sum += kLog ? dy[at] : y[at] * dy[at];
  }
  sum = blockSum<kThreads>(sum);
  for (int64_t i = threadIdx.x; i < cols; i += kThreads) {
    const int64_t at = row * cols + i;
    dx.set(at, kLog ? dy[at] - exponential(y[at]) * sum : y[at] * (dy[at] - sum));
  }
}

template <class P, class W, bool kLog>
void forward(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<P>();
  launch<forwardKernel<W, kLog>>(launcher, blocksFor(p.rows), kThreads, 0, p.rows, p.cols,
                                 floatsOf<W>(call.in[0]), resultsOf<W>(call.out[0]));
}
template <class P, class W, bool kLog>
void backward(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<P>();
  launch<backwardKernel<W, kLog>>(launcher, blocksFor(p.rows), kThreads, 0, p.rows, p.cols,
                                  floatsOf<W>(call.in[0]), floatsOf<W>(call.in[1]),
                                  resultsOf<W>(call.out[0]));
}

}  // namespace

void plainSoftmax(const OpCall& call, Context& context) {
  byWidth<forward<SoftmaxParams, float, false>, forward<SoftmaxParams, double, false>>(call,
                                                                                       context);
}
void plainLogSoftmax(const OpCall& call, Context& context) {
  byWidth<forward<LogSoftmaxParams, float, true>, forward<LogSoftmaxParams, double, true>>(call,
                                                                                           context);
}
void plainSoftmaxGrad(const OpCall& call, Context& context) {
  byWidth<backward<SoftmaxGradParams, float, false>, backward<SoftmaxGradParams, double, false>>(
      call, context);
}
void plainLogSoftmaxGrad(const OpCall& call, Context& context) {
  byWidth<backward<LogSoftmaxGradParams, float, true>,
          backward<LogSoftmaxGradParams, double, true>>(call, context);
}

namespace {
const RegisterVariant softmax{plainVariant("softmax", plainSoftmax)};
const RegisterVariant logSoftmax{plainVariant("logSoftmax", plainLogSoftmax)};
const RegisterVariant softmaxGrad{plainVariant("softmaxGrad", plainSoftmaxGrad)};
const RegisterVariant logSoftmaxGrad{plainVariant("logSoftmaxGrad", plainLogSoftmaxGrad)};
}  // namespace

}  // namespace figment::cuda
