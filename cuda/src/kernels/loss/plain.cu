// crossEntropy and its gradient, one block for each row. A row whose label is out of range is
// reported and left out.
#include "../../device/floats.h"
#include "../../device/functions.h"
#include "../../device/warp.h"
#include "kernels/params/crossEntropy.generated.h"
#include "kernels/params/crossEntropyGrad.generated.h"
#include "label.h"
#include "plain.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

template <class W>
FIGMENT_KERNEL(kThreads)
forwardKernel(int64_t rows, int64_t cols, FailureSink failures, Floats<W> logits,
              Global<const int32_t> labels, FloatResults<W> loss, FloatResults<W> lse) {
  const int64_t row = blockInGrid();
  if (row >= rows) return;
  const int32_t label = labels[row];
  if (!labelInRange(failures, label, row, cols, threadIdx.x == 0)) return;
  W highest = -W(INFINITY), sum = 0;
  for (int64_t i = threadIdx.x; i < cols; i += kThreads)
    highest = Maximum()(highest, logits[row * cols + i]);
  highest = blockReduce<Maximum, kThreads>(highest, -W(INFINITY));
  for (int64_t i = threadIdx.x; i < cols; i += kThreads)
    sum += exponential(logits[row * cols + i] - highest);
  sum = blockSum<kThreads>(sum);
  if (threadIdx.x > 0) return;
  lse.set(row, highest + logarithm(sum));
  loss.set(row, highest - logits[row * cols + label] + logarithm(sum));
}

template <class W>
FIGMENT_KERNEL(kThreads)
backwardKernel(int64_t rows, int64_t cols, FailureSink failures, Floats<W> logits,
               Global<const int32_t> labels, Floats<W> lse, Floats<W> dloss,
               FloatResults<W> dlogits) {
  const int64_t row = blockInGrid();
  if (row >= rows) return;
  const int32_t label = labels[row];
  if (!labelInRange(failures, label, row, cols, threadIdx.x == 0)) return;
  for (int64_t i = threadIdx.x; i < cols; i += kThreads) {
    const W probability = exponential(logits[row * cols + i] - lse[row]);
    dlogits.set(row * cols + i, (probability - (i == label ? W(1) : W(0))) * dloss[row]);
  }
}

template <class W>
void forward(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<CrossEntropyParams>();
  launch<forwardKernel<W>>(launcher, blocksFor(p.rows), kThreads, 0, p.rows, p.cols,
                           launcher.failures(), floatsOf<W>(call.in[0]),
                           viewOf<const int32_t>(call.in[1]), resultsOf<W>(call.out[0]),
                           resultsOf<W>(call.out[1]));
}
template <class W>
void backward(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<CrossEntropyGradParams>();
  launch<backwardKernel<W>>(launcher, blocksFor(p.rows), kThreads, 0, p.rows, p.cols,
                            launcher.failures(), floatsOf<W>(call.in[0]),
                            viewOf<const int32_t>(call.in[1]), floatsOf<W>(call.in[2]),
                            floatsOf<W>(call.in[3]), resultsOf<W>(call.out[0]));
}

}  // namespace

void plainCrossEntropy(const OpCall& call, Context& context) {
  byWidth<forward<float>, forward<double>>(call, context);
}
void plainCrossEntropyGrad(const OpCall& call, Context& context) {
  byWidth<backward<float>, backward<double>>(call, context);
}

namespace {
const RegisterVariant forwardVariant{plainVariant("crossEntropy", plainCrossEntropy)};
const RegisterVariant backwardVariant{plainVariant("crossEntropyGrad", plainCrossEntropyGrad)};
}  // namespace

}  // namespace figment::cuda
