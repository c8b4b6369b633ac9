#include "split_shares.h"
#include "start.h"

namespace figment::cuda {
namespace {

FIGMENT_KERNEL(SplitShares::kThreads)
sumSplitsKernel(Global<const float> partial, FIGMENT_GRID_CONSTANT const Product p, int32_t splits,
                SplitShares shares, Epilogue<float> epilogue) {
  FIGMENT_SHARED(float, shared, SplitShares::kThreads);
  const int64_t matrix = int64_t(p.mostRows) * p.columns, count = matrix * p.groups * p.phases;
  const int64_t e = shares.result();
  const int32_t product = int32_t(e / matrix), rest = int32_t(e % matrix);
  const int32_t row = rest / p.columns, column = rest % p.columns;
  const int32_t group = product / p.phases;
  const Phase& phase = p.phase[product % p.phases];
  const bool there = e < count && row < phase.rows;
  float sum[1];
  const bool first = shares.sum(sum, there ? splits : 0, shared, [&](int split, float(&value)[1]) {
    value[0] = partial[split * count + e];
  });
  if (there && first)
    epilogue.store(
        group * p.outGroup + phase.outFirst + rowOffset(p, phase, uint32_t(row)) + column,
        group * p.biasGroup + column, sum[0]);
}

}  // namespace

void sumSplits(const Product& p, int32_t splits, const Epilogue<float>& epilogue,
               Launcher& launcher) {
  const int64_t count = int64_t(p.mostRows) * p.columns * p.groups * p.phases;
  const SplitShares shares(count, splits);
  launch<sumSplitsKernel>(launcher, shares.grid(count), SplitShares::kThreads, 0,
                          Global<const float>(scratchView<float>(launcher, 0, count * splits)), p,
                          splits, shares, epilogue);
}

}  // namespace figment::cuda
