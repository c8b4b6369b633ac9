// randomCategorical: a thread for each row's running sums, then one for each draw; and the words
// for a row that stands for no distribution.
#include "../../device/launch.h"
#include "../plain.h"
#include "../random/advance.h"
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

/// Rows without a distribution give place 0.
FIGMENT_KERNEL(kThreads)
drawKernel(RandomCategoricalParams p, int64_t chunks, Global<const float> logits,
           Global<const int32_t> state, Global<const double> running, Global<const float> highest,
           Global<int32_t> out) {
  const RandomStream stream = readStream(state);
  for (int64_t e = threadInGrid(); e < p.draws * p.rows; e += threadsOfGrid()) {
    const int64_t r = e % p.rows;
    const auto own = running.from(r * chunks);
    const double target = uniform53(wideWord(stream, e)) * own[chunks - 1];
    const int64_t chunk = chunkAt(own, chunks, target);
    double sum = chunk > 0 ? own[chunk - 1] : 0;
    int64_t place = chunk * kChunk;  // the last with a weight, should rounding keep the sum below
    for (int64_t j = chunk * kChunk; j < (chunk + 1) * kChunk && j < p.cols; j++) {
      const float weight = weightOf(logits[r * p.cols + j], highest[r]);
      if (!(weight > 0)) continue;
      place = j;
      sum += double(weight);
      if (sum > target) break;
    }
    out[e] = int32_t(place);
  }
}

size_t scratchBytes(const OpCall& call, int) {
  const auto& p = call.as<RandomCategoricalParams>();
  return size_t(p.rows) * (size_t(chunksOf(p)) * sizeof(double) + sizeof(float));
}

void run(const OpCall& call, Context& context) {
  Launcher& launcher = launcherOf(context);
  const auto& p = call.as<RandomCategoricalParams>();
  const int64_t chunks = chunksOf(p), draws = p.draws * p.rows;
  const auto running = scratchView<double>(launcher, 0, p.rows * chunks);
  const auto highest =
      scratchView<float>(launcher, p.rows * chunks * int64_t(sizeof(double)), p.rows);
  const auto logits = viewOf<const float>(call.in[0]);
  launch<sumsKernel>(launcher, gridFor(launcher, p.rows, kThreads), kThreads, 0, p, chunks, logits,
                     running, highest, launcher.failures());
  launch<drawKernel>(launcher, gridFor(launcher, draws, kThreads), kThreads, 0, p, chunks, logits,
                     viewOf<const int32_t>(call.in[1]), Global<const double>(running),
                     Global<const float>(highest), viewOf<int32_t>(call.out[0]));
  advanceStream(launcher, call.in[1], call.out[1], 2 * draws);
}

const RegisterVariant registrar{plainVariant("randomCategorical", run, scratchBytes)};
const RegisterFailure words{"randomCategorical", [](const OpCall&, const DeviceFailure& failure) {
                              return FailureText{
                                  "ERR_FIGMENT_VALUE",
                                  "categorical: row " + std::to_string(failure.position) +
                                      " of the logits has a NaN or +Inf, or is -Inf throughout"};
                            }};

}  // namespace
}  // namespace figment::cuda
