// crossEntropy and its gradient: a warp or a block for each row, which is read once. The forward
// kernel keeps a maximum and the sum of exponentials below it as it goes, so that rows of any
// length need no second reading.
#include "../../device/rows.h"
#include "kernels/params/crossEntropy.generated.h"
#include "kernels/params/crossEntropyGrad.generated.h"
#include "label.h"

namespace figment::cuda {
namespace {

constexpr float kLog2E = 1.44269504088896341f;

template <int N, int kTeam>
FIGMENT_KERNEL(kRowThreads)
forwardKernel(int64_t rows, int64_t cols, FailureSink failures, Floats<float> logits,
              Global<const int32_t> labels, FloatResults<float> loss, FloatResults<float> lse) {
  FIGMENT_SHARED(float, shared, kRowThreads / kWarp);
  const Team<kTeam> team(shared);
  const int64_t row = team.number();
  if (row >= rows) return;
  const int32_t label = labels[row];
  if (!labelInRange(failures, label, row, cols, team.member() == 0)) return;
  float highest = -INFINITY, sum = 0;
  constexpr int kHeld = 4;
  for (int64_t i = team.member() * N; i < cols; i += int64_t(kHeld) * kTeam * N) {
    Raw<N> raw[kHeld];
    FIGMENT_UNROLL
    for (int r = 0; r < kHeld; r++)
      if (i + r * kTeam * N < cols) raw[r] = loadRaw<N>(logits, row * cols + i + r * kTeam * N);
    FIGMENT_UNROLL
    for (int r = 0; r < kHeld; r++) {
      if (i + r * kTeam * N >= cols) continue;
      float values[N];
      widenRaw<N>(raw[r], logits.format, values);
      float peak = highest;
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) peak = Maximum()(peak, values[j]);
      // Nothing counts as long as all is −∞: there is no difference to take.
      if (peak > -INFINITY || peak != peak) {
        sum *= exp2Fast((highest - peak) * kLog2E);
        FIGMENT_UNROLL
        for (int j = 0; j < N; j++) sum += exp2Fast((values[j] - peak) * kLog2E);
        highest = peak;
      }
    }
  }
  const float peak = team.greatest(highest);
  sum = team.sum(highest == -INFINITY ? 0.0f : sum * exp2Fast((highest - peak) * kLog2E));
  if (team.member() > 0) return;
  // A row of nothing but −∞ has no distribution.
  const float logSum = peak == -INFINITY ? NAN : logf(sum);
  lse.set(row, peak + logSum);
  loss.set(row, peak - logits[row * cols + label] + logSum);
}

template <int N, int kTeam>
FIGMENT_KERNEL(kRowThreads)
backwardKernel(int64_t rows, int64_t cols, FailureSink failures, Floats<float> logits,
               Global<const int32_t> labels, Floats<float> lse, Floats<float> dloss,
               FloatResults<float> dlogits) {
  const int64_t row = Team<kTeam>::number();
  if (row >= rows) return;
  const int member = Team<kTeam>::member();
  const int32_t label = labels[row];
  if (!labelInRange(failures, label, row, cols, member == 0)) return;
  const float level = lse[row], scale = dloss[row];
  FIGMENT_UNROLL_BY(4)
  for (int64_t i = member * N; i < cols; i += kTeam * N) {
    float values[N];
    loadFloats<N>(logits, row * cols + i, values);
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++)
      values[j] = (exp2Fast((values[j] - level) * kLog2E) - (i + j == label ? 1.0f : 0.0f)) * scale;
    storeFloats<N>(dlogits, row * cols + i, values);
  }
}

/// Rows up to this length are a warp's.
constexpr int64_t kWarpRow = 1024;

template <class F>
void withTeams(int64_t cols, int n, F&& f) {
  withVectors(n, [&]<int N>() {
    if (cols <= kWarpRow) return f.template operator()<N, kWarp>();
    f.template operator()<N, kRowThreads>();
  });
}

void forward(const OpCall& call, Context& context) {
  const auto& p = call.as<CrossEntropyParams>();
  Launcher& launcher = launcherOf(context);
  withTeams(p.cols, vectorElements(p.cols, {&call.in[0]}), [&]<int N, int kTeam>() {
    launch<forwardKernel<N, kTeam>>(launcher, gridOfRows<kTeam>(p.rows), kRowThreads, 0, p.rows,
                                    p.cols, launcher.failures(), floatsOf<float>(call.in[0]),
                                    viewOf<const int32_t>(call.in[1]),
                                    resultsOf<float>(call.out[0]), resultsOf<float>(call.out[1]));
  });
}
void backward(const OpCall& call, Context& context) {
  const auto& p = call.as<CrossEntropyGradParams>();
  Launcher& launcher = launcherOf(context);
  withTeams(p.cols, vectorElements(p.cols, {&call.in[0], &call.out[0]}), [&]<int N, int kTeam>() {
    launch<backwardKernel<N, kTeam>>(launcher, gridOfRows<kTeam>(p.rows), kRowThreads, 0, p.rows,
                                     p.cols, launcher.failures(), floatsOf<float>(call.in[0]),
                                     viewOf<const int32_t>(call.in[1]), floatsOf<float>(call.in[2]),
                                     floatsOf<float>(call.in[3]), resultsOf<float>(call.out[0]));
  });
}

const RegisterVariant forwardVariant{{.op = "crossEntropy",
                                      .name = "rows",
                                      .isa = Isa::sm75,
                                      .supports = supportsFloats,
                                      .scratch = nullptr,
                                      .run = forward}};
const RegisterVariant backwardVariant{{.op = "crossEntropyGrad",
                                       .name = "rows",
                                       .isa = Isa::sm75,
                                       .supports = supportsFloats,
                                       .scratch = nullptr,
                                       .run = backward}};

}  // namespace
}  // namespace figment::cuda
