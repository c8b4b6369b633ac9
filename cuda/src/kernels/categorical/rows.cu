// randomCategorical with a block for each row: its highest logit, then the sums of its chunks, of
// which sixteen lanes take one, each every sixteenth weight; one thread adds them up in their
// order.
#include "../../device/launch.h"
#include "../../device/warp.h"
#include "draw.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;
/// Chunks that a block sums side by side.
constexpr int64_t kGroups = kThreads / kSums;

FIGMENT_KERNEL(kThreads)
rowKernel(RandomCategoricalParams p, int64_t chunks, Global<const float> logits,
          Global<double> running, Global<float> highest, FailureSink failures) {
  const int group = threadInBlock() / kSums, lane = threadInBlock() % kSums;
  for (int64_t r = blockIdx.x; r < p.rows; r += gridDim.x) {
    const auto row = logits.from(r * p.cols);
    float own = row[0];
    for (int64_t j = threadIdx.x; j < p.cols; j += kThreads) own = higher(own, row[j]);
    const float top = blockReduce<Maximum, kThreads>(own, own);
    for (int64_t base = 0; base < chunks; base += kGroups) {
      const int64_t chunk = base + group;
      double sum = 0;
      for (int64_t k = 0; k < kChunk; k += kSums) {
        const int64_t j = chunk * kChunk + k + lane;
        if (j < p.cols) sum += double(weightOf(row[j], top));
      }
      FIGMENT_UNROLL
      for (int width = kSums / 2; width > 0; width /= 2)
        sum += __shfl_down_sync(kWholeWarp, sum, width, kSums);
      if (lane == 0 && chunk < chunks) running[r * chunks + chunk] = sum;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      double sum = 0;
      for (int64_t chunk = 0; chunk < chunks; chunk++) {
        sum += running[r * chunks + chunk];
        running[r * chunks + chunk] = sum;
      }
      highest[r] = top;
      if (!(sum > 0)) failures.report(0, r, 0);
    }
  }
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const auto& p = call.as<RandomCategoricalParams>();
  const int64_t most = int64_t(launcher.multiprocessors()) * 8;
  launch<rowKernel>(launcher, {p.rows < most ? p.rows : most}, kThreads, 0, p, chunksOf(p),
                    viewOf<const float>(call.in[0]), runningSums(call, launcher),
                    highestLogits(call, launcher), launcher.failures());
  drawPlaces(call, launcher);
}

const RegisterVariant registrar{{.op = "randomCategorical",
                                 .name = "rows",
                                 .isa = Isa::sm75,
                                 .supports = [](const OpCall&) { return 20; },
                                 .scratch = categoricalBytes,
                                 .run = run}};

}  // namespace
}  // namespace figment::cuda
