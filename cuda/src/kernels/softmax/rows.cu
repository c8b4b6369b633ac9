// softmax, its logarithm and their gradients with each row held in registers: read once, written
// once.
#include "../../device/rows.h"
#include "kernels/params/logSoftmax.generated.h"
#include "kernels/params/logSoftmaxGrad.generated.h"
#include "kernels/params/softmax.generated.h"
#include "kernels/params/softmaxGrad.generated.h"

namespace figment::cuda {
namespace {

constexpr float kLog2E = 1.44269504088896341f;

template <int N, int kVectors, int kTeam>
FIGMENT_KERNEL(kRowThreads)
forwardKernel(int64_t rows, int64_t cols, bool log, Floats<float> x, FloatResults<float> y) {
  FIGMENT_SHARED(float, shared, kRowThreads / kWarp);
  const Team<kTeam> team(shared);
  const int64_t row = team.number();
  if (row >= rows) return;
  HeldRow<N, kVectors, kTeam> held;
  held.load(x, row * cols, cols, -INFINITY);
  float highest = -INFINITY, sum = 0;
  held.each(cols, [&](float value, int, int) { highest = Maximum()(highest, value); });
  highest = team.greatest(highest);
  if (log) {
    held.each(cols, [&](float& value, int, int) {
      value -= highest;
      sum += exp2Fast(value * kLog2E);
    });
    const float logSum = logf(team.sum(sum));
    held.each(cols, [&](float& value, int, int) { value -= logSum; });
  } else {
    held.each(cols, [&](float& value, int, int) {
      value = exp2Fast((value - highest) * kLog2E);
      sum += value;
    });
    const float inverse = 1.0f / team.sum(sum);
    held.each(cols, [&](float& value, int, int) { value *= inverse; });
  }
  held.store(y, row * cols, cols);
}

template <int N, int kVectors, int kTeam>
FIGMENT_KERNEL_OCCUPIED(kRowThreads, 2)
backwardKernel(int64_t rows, int64_t cols, bool log, Floats<float> y, Floats<float> dy,
               FloatResults<float> dx) {
  FIGMENT_SHARED(float, shared, kRowThreads / kWarp);
  const Team<kTeam> team(shared);
  const int64_t row = team.number();
  if (row >= rows) return;
  HeldRow<N, kVectors, kTeam> result, cotangent;
  result.load(y, row * cols, cols, 0);
  cotangent.load(dy, row * cols, cols, 0);
  float sum = 0;
  cotangent.each(cols, [&](float d, int v, int j) { sum += log ? d : result.values[v][j] * d; });
  sum = team.sum(sum);
  if (log)
    cotangent.each(cols, [&](float& d, int v, int j) { d -= expf(result.values[v][j]) * sum; });
  else
    cotangent.each(cols, [&](float& d, int v, int j) { d = result.values[v][j] * (d - sum); });
  cotangent.store(dx, row * cols, cols);
}

template <class P, bool kLog>
void forward(const OpCall& call, Context& context) {
  const auto& p = call.as<P>();
  withRows(p.rows, p.cols, vectorElements(p.cols, {&call.in[0], &call.out[0]}),
           [&]<int N, int kVectors, int kTeam>() {
             launch<forwardKernel<N, kVectors, kTeam>>(
                 launcherOf(context), gridOfRows<kTeam>(p.rows), kRowThreads, 0, p.rows, p.cols,
                 kLog, floatsOf<float>(call.in[0]), resultsOf<float>(call.out[0]));
           });
}
template <class P, bool kLog>
void backward(const OpCall& call, Context& context) {
  const auto& p = call.as<P>();
  withRows(p.rows, p.cols, vectorElements(p.cols, {&call.in[0], &call.in[1], &call.out[0]}),
           [&]<int N, int kVectors, int kTeam>() {
             launch<backwardKernel<N, kVectors, kTeam>>(
                 launcherOf(context), gridOfRows<kTeam>(p.rows), kRowThreads, 0, p.rows, p.cols,
                 kLog, floatsOf<float>(call.in[0]), floatsOf<float>(call.in[1]),
                 resultsOf<float>(call.out[0]));
           });
}

template <class P>
constexpr Variant heldRows(const char* op, void (*run)(const OpCall&, Context&)) {
  return {.op = op,
          .name = "rows",
          .isa = Isa::sm75,
          .supports = supportsHeldRows<P>,
          .scratch = nullptr,
          .run = run};
}
const RegisterVariant softmax{heldRows<SoftmaxParams>("softmax", forward<SoftmaxParams, false>)};
const RegisterVariant logSoftmax{
    heldRows<LogSoftmaxParams>("logSoftmax", forward<LogSoftmaxParams, true>)};
const RegisterVariant softmaxGrad{
    heldRows<SoftmaxGradParams>("softmaxGrad", backward<SoftmaxGradParams, false>)};
const RegisterVariant logSoftmaxGrad{
    heldRows<LogSoftmaxGradParams>("logSoftmaxGrad", backward<LogSoftmaxGradParams, true>)};

}  // namespace
}  // namespace figment::cuda
