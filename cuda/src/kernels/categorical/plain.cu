// randomCategorical: a thread for each row's running sums, then one for each draw.
#include "../../device/launch.h"
#include "../plain.h"
#include "draw.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

FIGMENT_KERNEL(kThreads)
sumsKernel(RandomCategoricalParams p, int64_t chunks, Global<const float> logits,
           Global<double> running, Global<float> highest, FailureSink failures) {
  for (int64_t r = threadInGrid(); r < p.rows; r += threadsOfGrid()) {
    const auto row = logits.from(r * p.cols);
    float top = row[0];
    for (int64_t j = 1; j < p.cols; j++) top = higher(top, row[j]);
    highest[r] = top;
    double sum = 0;
    for (int64_t c = 0; c < chunks; c++) {
      double sums[kSums] = {};
      for (int64_t j = c * kChunk; j < (c + 1) * kChunk && j < p.cols; j++)
        sums[j % kSums] += double(weightOf(row[j], top));
      for (int width = kSums / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++) sums[i] += sums[i + width];
      sum += sums[0];
      running[r * chunks + c] = sum;
    }
    if (!(sum > 0)) failures.report(0, r, 0);
  }
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const auto& p = call.as<RandomCategoricalParams>();
  launch<sumsKernel>(launcher, gridFor(launcher, p.rows, kThreads), kThreads, 0, p, chunksOf(p),
                     viewOf<const float>(call.in[0]), runningSums(call, launcher),
                     highestLogits(call, launcher), launcher.failures());
  drawPlaces(call, launcher);
}

const RegisterVariant registrar{plainVariant("randomCategorical", run, categoricalBytes)};

}  // namespace
}  // namespace figment::cuda
