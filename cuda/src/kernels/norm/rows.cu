// layerNorm and rmsNorm with each row held in registers: read once, written once.
#include "../../device/rows.h"
#include "affine.h"

namespace figment::cuda {
namespace {

struct RowNorm {
  int64_t rows, cols;
  bool centered;
  float eps;
  Floats<float> x, gamma, beta;
  FloatResults<float> y, mean, scale;
};

template <int N, int kVectors, int kTeam>
FIGMENT_KERNEL(kRowThreads)
rowKernel(RowNorm k) {
  FIGMENT_SHARED(float, shared, kRowThreads / kWarp);
  const Team<kTeam> team(shared);
  const int64_t row = team.number();
  if (row >= k.rows) return;
  HeldRow<N, kVectors, kTeam> held;
  held.load(k.x, row * k.cols, k.cols, 0);
  const float inverse = 1.0f / float(k.cols);
  float center = 0, shift = 0, squares = 0;
  if (k.centered) {
    float sum = 0, left = 0;
    held.each(k.cols, [&](float x, int, int) { sum += x; });
    center = team.sum(sum) * inverse;
    // What is left of the mean after rounding it.
    held.each(k.cols, [&](float& x, int, int) { left += x -= center; });
    shift = team.sum(left) * inverse;
  }
  held.each(k.cols, [&](float& x, int, int) {
    x -= shift;
    squares += x * x;
  });
  const float scale = 1.0f / sqrtf(team.sum(squares) * inverse + k.eps);
  if (team.member() == 0) {
    if (k.centered) k.mean.set(row, center + shift);
    k.scale.set(row, scale);
  }
  FIGMENT_UNROLL
  for (int v = 0; v < kVectors; v++) {
    const int64_t at = held.at(v);
    if (at >= k.cols) continue;
    float gamma[N], beta[N];
    loadAny<N>(k.gamma, at, gamma);
    if (k.centered) loadAny<N>(k.beta, at, beta);
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) {
      const float scaled = held.values[v][j] * scale;
      held.values[v][j] = k.centered ? scaled * gamma[j] + beta[j] : scaled * gamma[j];
    }
  }
  held.store(k.y, row * k.cols, k.cols);
}

void start(const RowNorm& k, int n, Launcher& launcher) {
  const auto run = [&]<int N, int kVectors, int kTeam>() {
    launch<rowKernel<N, kVectors, kTeam>>(launcher, gridOfRows<kTeam>(k.rows), kRowThreads, 0, k);
  };
  // Many rows of middling length: as many warps on a multiprocessor as rows of the longest would
  // leave without registers.
  constexpr int64_t kMiddling = 16;
  if (k.cols > 8 * kWarp && k.cols <= kMiddling * kWarp && k.rows >= 1024 && n > 1)
    return n == 8 ? run.template operator()<8, kMiddling / 8, kWarp>()
                  : run.template operator()<4, kMiddling / 4, kWarp>();
  withRows(k.rows, k.cols, n, run);
}

void runLayer(const OpCall& call, Context& context) {
  const auto& p = call.as<LayerNormParams>();
  start({p.rows, p.cols, true, float(p.eps), floatsOf<float>(call.in[0]),
         floatsOf<float>(call.in[1]), floatsOf<float>(call.in[2]), resultsOf<float>(call.out[0]),
         resultsOf<float>(call.out[1]), resultsOf<float>(call.out[2])},
        vectorElements(p.cols, {&call.in[0], &call.out[0]}, {&call.in[1], &call.in[2]}),
        launcherOf(context));
}
void runRms(const OpCall& call, Context& context) {
  const auto& p = call.as<RmsNormParams>();
  start({p.rows,
         p.cols,
         false,
         float(p.eps),
         floatsOf<float>(call.in[0]),
         floatsOf<float>(call.in[1]),
         {},
         resultsOf<float>(call.out[0]),
         {},
         resultsOf<float>(call.out[1])},
        vectorElements(p.cols, {&call.in[0], &call.out[0]}, {&call.in[1]}), launcherOf(context));
}

const RegisterVariant layer{{.op = "layerNorm",
                             .name = "rows",
                             .isa = Isa::sm75,
                             .supports = supportsHeldRows<LayerNormParams>,
                             .scratch = nullptr,
                             .run = runLayer}};
const RegisterVariant rms{{.op = "rmsNorm",
                           .name = "rows",
                           .isa = Isa::sm75,
                           .supports = supportsHeldRows<RmsNormParams>,
                           .scratch = nullptr,
                           .run = runRms}};

}  // namespace
}  // namespace figment::cuda
