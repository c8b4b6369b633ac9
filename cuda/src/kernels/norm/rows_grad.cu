// Gradients of layerNorm and rmsNorm with each row held in registers: x and dy are read once. A
// team of threads takes several rows, one after the other, and keeps its columns' sums for gamma
// and beta beside them; each block leaves one row of sums, which a second kernel adds up in order.
#include "../../device/columns.h"
#include "../../device/rows.h"
#include "affine.h"

namespace figment::cuda {
namespace {

struct RowGrad {
  int64_t rows, cols, rowsPerTeam;
  bool centered;
  Floats<float> x, gamma, mean, scale, dy;
  FloatResults<float> dx;
  Global<float> gammaSums, betaSums;  ///< [blocks, cols]
};

/// One row of sums for the block, from those of its teams.
template <int N, int kVectors, int kTeam>
FIGMENT_DEVICE void storeSums(const float (&sums)[kVectors][N], const Shared<float>& shared,
                              const Global<float>& to, int64_t cols) {
  const int t = int(threadIdx.x);
  const int64_t base = blockInGrid() * cols;
  if constexpr (kTeam == kRowThreads) {
    FIGMENT_UNROLL
    for (int v = 0; v < kVectors; v++) {
      const int64_t at = HeldRow<N, kVectors, kTeam>::at(v);
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++)
        if (at < cols) to[base + at + j] = sums[v][j];
    }
  } else {
    __syncthreads();
    FIGMENT_UNROLL
    for (int v = 0; v < kVectors; v++) {
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) shared[(v * N + j) * kRowThreads + t] = sums[v][j];
    }
    __syncthreads();
    for (int e = t; e < kVectors * N * kTeam; e += kRowThreads) {
      const int place = e / kTeam, member = e % kTeam;
      const int64_t column = int64_t(place / N * kTeam + member) * N + place % N;
      if (column >= cols) continue;
      float sum = 0;
      for (int team = 0; team < Team<kTeam>::kTeams; team++)
        sum += shared[place * kRowThreads + team * kTeam + member];
      to[base + column] = sum;
    }
  }
}

template <int N, int kVectors, int kTeam>
FIGMENT_KERNEL(kRowThreads)
rowGradKernel(RowGrad k) {
  FIGMENT_DYNAMIC_SHARED(dynamic);
  FIGMENT_SHARED(float, partial, kRowThreads / kWarp);
  const Team<kTeam> team(partial);
  float gammaSums[kVectors][N], betaSums[kVectors][N];
  FIGMENT_UNROLL
  for (int v = 0; v < kVectors; v++) {
    FIGMENT_UNROLL
    for (int j = 0; j < N; j++) gammaSums[v][j] = betaSums[v][j] = 0;
  }
  const float inverse = 1.0f / float(k.cols);
  for (int64_t turn = 0; turn < k.rowsPerTeam; turn++) {
    const int64_t row = team.number() * k.rowsPerTeam + turn;
    if (row >= k.rows) break;
    HeldRow<N, kVectors, kTeam> x, d;
    x.load(k.x, row * k.cols, k.cols, 0);
    d.load(k.dy, row * k.cols, k.cols, 0);
    const float mean = k.centered ? k.mean[row] : 0.0f, scale = k.scale[row];
    float sum = 0, dot = 0;
    FIGMENT_UNROLL
    for (int v = 0; v < kVectors; v++) {
      const int64_t at = x.at(v);
      if (at >= k.cols) continue;
      float gamma[N];
      loadAny<N>(k.gamma, at, gamma);
      FIGMENT_UNROLL
      for (int j = 0; j < N; j++) {
        x.values[v][j] = (x.values[v][j] - mean) * scale;
        gammaSums[v][j] += d.values[v][j] * x.values[v][j];
        betaSums[v][j] += d.values[v][j];
        d.values[v][j] *= gamma[j];
        sum += d.values[v][j];
        dot += d.values[v][j] * x.values[v][j];
      }
    }
    const float common = k.centered ? team.sum(sum) * inverse : 0.0f;
    const float along = team.sum(dot) * inverse;
    d.each(k.cols, [&](float& value, int v, int j) {
      value = scale * (value - common - x.values[v][j] * along);
    });
    d.store(k.dx, row * k.cols, k.cols);
  }
  const auto shared =
      dynamic.template view<float>(0, kTeam == kRowThreads ? 0 : kRowThreads * kVectors * N);
  storeSums<N, kVectors, kTeam>(gammaSums, shared, k.gammaSums, k.cols);
  if (k.centered) storeSums<N, kVectors, kTeam>(betaSums, shared, k.betaSums, k.cols);
}

/// How rows are shared out, by shape alone.
struct RowShares {
  int64_t rowsPerTeam = 0, blocks = 0;

  RowShares(int64_t rows, int64_t cols) {
    constexpr int64_t kFewest = 4, kBlocks = 512;
    withRows(rows, cols, 1, [&]<int N, int kVectors, int kTeam>() {
      constexpr int64_t kTeams = Team<kTeam>::kTeams;
      rowsPerTeam = ceilDiv(rows, kBlocks * kTeams);
      if (rowsPerTeam < kFewest) rowsPerTeam = kFewest;
      blocks = ceilDiv(rows, rowsPerTeam * kTeams);
    });
  }
};

void start(const OpCall& call, RowGrad k, Launcher& launcher) {
  const RowShares shares(k.rows, k.cols);
  const int64_t sums = shares.blocks * k.cols;
  k.rowsPerTeam = shares.rowsPerTeam;
  k.gammaSums = scratchView<float>(launcher, 0, sums);
  k.betaSums = scratchView<float>(launcher, sums * 4, k.centered ? sums : 0);
  const int n = vectorElements(k.cols, {&call.in[0], &call.in[call.inCount - 1], &call.out[0]},
                               {&call.in[1]});
  withRows(k.rows, k.cols, n, [&]<int N, int kVectors, int kTeam>() {
    const size_t bytes = kTeam == kRowThreads ? 0 : kRowThreads * kVectors * N * sizeof(float);
    launch<rowGradKernel<N, kVectors, kTeam>>(launcher, blocksFor(shares.blocks), kRowThreads,
                                              bytes, k);
  });
  const int64_t kinds = k.centered ? 2 : 1;
  sumPartials<float>(launcher, kinds, shares.blocks, k.cols,
                     scratchView<float>(launcher, 0, kinds * sums), resultsOf<float>(call.out[1]),
                     k.centered ? resultsOf<float>(call.out[2]) : FloatResults<float>{});
}

template <class P, int kSums>
size_t scratch(const OpCall& call, int) {
  const auto& p = call.as<P>();
  return size_t(kSums * RowShares(p.rows, p.cols).blocks * p.cols) * sizeof(float);
}

void runLayer(const OpCall& call, Context& context) {
  const auto& p = call.as<LayerNormGradParams>();
  start(call,
        {p.rows,
         p.cols,
         0,
         true,
         floatsOf<float>(call.in[0]),
         floatsOf<float>(call.in[1]),
         floatsOf<float>(call.in[2]),
         floatsOf<float>(call.in[3]),
         floatsOf<float>(call.in[4]),
         resultsOf<float>(call.out[0]),
         {},
         {}},
        launcherOf(context));
}
void runRms(const OpCall& call, Context& context) {
  const auto& p = call.as<RmsNormGradParams>();
  start(call,
        {p.rows,
         p.cols,
         0,
         false,
         floatsOf<float>(call.in[0]),
         floatsOf<float>(call.in[1]),
         {},
         floatsOf<float>(call.in[2]),
         floatsOf<float>(call.in[3]),
         resultsOf<float>(call.out[0]),
         {},
         {}},
        launcherOf(context));
}

const RegisterVariant layer{{.op = "layerNormGrad",
                             .name = "rows",
                             .isa = Isa::sm75,
                             .supports = supportsHeldRows<LayerNormGradParams>,
                             .scratch = scratch<LayerNormGradParams, 2>,
                             .run = runLayer}};
const RegisterVariant rms{{.op = "rmsNormGrad",
                           .name = "rows",
                           .isa = Isa::sm75,
                           .supports = supportsHeldRows<RmsNormGradParams>,
                           .scratch = scratch<RmsNormGradParams, 1>,
                           .run = runRms}};

}  // namespace
}  // namespace figment::cuda
