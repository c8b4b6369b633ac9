// Draws of randomCategorical, a thread for each.
#include "../../device/launch.h"
#include "../random/advance.h"
#include "draw.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

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

}  // namespace

size_t categoricalBytes(const OpCall& call, int) {
  const auto& p = call.as<RandomCategoricalParams>();
  return size_t(p.rows) * (size_t(chunksOf(p)) * sizeof(double) + sizeof(float));
}
Global<double> runningSums(const OpCall& call, const Launcher& launcher) {
  const auto& p = call.as<RandomCategoricalParams>();
  return scratchView<double>(launcher, 0, p.rows * chunksOf(p));
}
Global<float> highestLogits(const OpCall& call, const Launcher& launcher) {
  const auto& p = call.as<RandomCategoricalParams>();
  return scratchView<float>(launcher, p.rows * chunksOf(p) * int64_t(sizeof(double)), p.rows);
}

void drawPlaces(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<RandomCategoricalParams>();
  const int64_t draws = p.draws * p.rows;
  launch<drawKernel>(launcher, gridFor(launcher, draws, kThreads), kThreads, 0, p, chunksOf(p),
                     viewOf<const float>(call.in[0]), viewOf<const int32_t>(call.in[1]),
                     Global<const double>(runningSums(call, launcher)),
                     Global<const float>(highestLogits(call, launcher)),
                     viewOf<int32_t>(call.out[0]));
  advanceStream(launcher, call.in[1], call.out[1], 2 * draws);
}

}  // namespace figment::cuda
