// sumSquares over many tensors at once: the squares of each chunk are summed in f32 by a thread and
// in f64 above it; the last block of the last launch sums the chunks in their order.
#include "../../device/last_block.h"
#include "../../device/warp.h"
#include "update.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kVectors = 8;
constexpr int64_t kChunk = 4 * kVectors * kThreads;

using Table = SweepTable<const float, 1>;

/// `partial` of this launch begins at `before`. `total` is the number of all partial sums in the
/// last launch, and negative in others.
FIGMENT_KERNEL(kThreads)
squaresKernel(FIGMENT_GRID_CONSTANT const Table table, Global<double> partial, int64_t before,
              int64_t total, Global<float> out, uint32_t* arrivals) {
  for (uint32_t chunk = blockIdx.x; chunk < table.chunks; chunk += gridDim.x) {
    const int t = table.tensorOf(chunk);
    const auto x = table.at[0][t];
    const int64_t count = table.count[t];
    const int64_t first = int64_t(chunk - table.firstChunk[t]) * kChunk + 4 * int64_t(threadIdx.x);
    float sum[4] = {0, 0, 0, 0};
    FIGMENT_UNROLL
    for (int v = 0; v < kVectors; v++) {
      const int64_t i = first + 4 * kThreads * v;
      float4 four = make_float4(0, 0, 0, 0);
      if (table.aligned && i + 4 <= count)
        four = x.load<float4>(i);
      else if (i < count)
        four = make_float4(x[i], i + 1 < count ? x[i + 1] : 0, i + 2 < count ? x[i + 2] : 0,
                           i + 3 < count ? x[i + 3] : 0);
      sum[0] = __fmaf_rn(four.x, four.x, sum[0]);
      sum[1] = __fmaf_rn(four.y, four.y, sum[1]);
      sum[2] = __fmaf_rn(four.z, four.z, sum[2]);
      sum[3] = __fmaf_rn(four.w, four.w, sum[3]);
    }
    const double own = (double(sum[0]) + double(sum[1])) + (double(sum[2]) + double(sum[3]));
    const double all = blockSum<kThreads>(own);
    if (threadIdx.x == 0) partial[before + chunk] = all;
  }
  if (total < 0 || !isLastBlock(arrivals)) return;
  double sum = 0;
  for (int64_t i = threadIdx.x; i < total; i += kThreads) sum += partial[i];
  sum = blockSum<kThreads>(sum);
  if (threadIdx.x == 0) out[0] = float(sum);
}

int64_t chunksOf(const OpCall& call) {
  int64_t chunks = 0;
  for (int t = 0; t < call.inCount; t++) chunks += ceilDiv(call.in[t].elements(), kChunk);
  return chunks;
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const int64_t total = chunksOf(call);
  const auto partial = scratchView<double>(launcher, 0, total);
  const auto out = viewOf<float>(call.out[0]);
  Table table;
  int64_t before = 0;
  const auto flush = [&](bool last) {
    const Grid grid =
        gridFor(launcher, int64_t(table.chunks > 0 ? table.chunks : 1) * kThreads, kThreads);
    launch<squaresKernel>(launcher, grid, kThreads, 0, table, partial, before,
                          last ? total : int64_t(-1), out, launcher.arrivals());
    before += table.chunks;
    table = {};
  };
  for (int t = 0; t < call.inCount; t++) {
    if (call.in[t].empty()) continue;
    if (table.full()) flush(false);
    const Operand* const arrays[] = {&call.in[t]};
    table.add(arrays, t, kChunk);
  }
  flush(true);
}

int supports(const OpCall& call) { return call.out[0].format == Format::f32 ? 20 : -1; }

size_t scratchBytes(const OpCall& call, int) { return size_t(chunksOf(call)) * sizeof(double); }

const RegisterVariant registrar{multiTensorVariant("sumSquares", supports, run, scratchBytes)};

}  // namespace
}  // namespace figment::cuda
