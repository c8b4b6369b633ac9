#include "start.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kAtOnce = 16;  ///< loads of a thread that are under way together

FIGMENT_KERNEL(kThreads)
sumSplitsKernel(Global<const float> partial, FIGMENT_GRID_CONSTANT const Product p, int32_t splits,
                Epilogue<float> epilogue) {
  const int64_t matrix = int64_t(p.mostRows) * p.columns, count = matrix * p.groups * p.phases;
  for (int64_t e = threadInGrid(); e < count; e += threadsOfGrid()) {
    const int32_t product = int32_t(e / matrix), rest = int32_t(e % matrix);
    const int32_t row = rest / p.columns, column = rest % p.columns;
    const int32_t group = product / p.phases;
    const Phase& phase = p.phase[product % p.phases];
    if (row >= phase.rows) continue;
    float sum = 0;
    for (int32_t first = 0; first < splits; first += kAtOnce) {
      float more[kAtOnce];
      FIGMENT_UNROLL
      for (int i = 0; i < kAtOnce; i++)
        more[i] = first + i < splits ? float(partial[(first + i) * count + e]) : 0.0f;
      FIGMENT_UNROLL
      for (int i = 0; i < kAtOnce; i++) sum += more[i];
    }
    epilogue.store(
        group * p.outGroup + phase.outFirst + rowOffset(p, phase, uint32_t(row)) + column,
        group * p.biasGroup + column, sum);
  }
}

}  // namespace

void sumSplits(const Product& p, int32_t splits, const Epilogue<float>& epilogue,
               Launcher& launcher) {
  const int64_t count = int64_t(p.mostRows) * p.columns * p.groups * p.phases;
  launch<sumSplitsKernel>(launcher, gridFor(launcher, count, kThreads), kThreads, 0,
                          Global<const float>(scratchView<float>(launcher, 0, count * splits)), p,
                          splits, epilogue);
}

}  // namespace figment::cuda
