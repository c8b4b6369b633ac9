#include "start.h"
#include "tiled_async.h"

namespace figment::cuda {

void runTiledAsync(const Work& work, const WorkOperands& operands, Launcher& launcher) {
  const AlignedFactors factors(work, operands);
  if (!factors.both || !planOf(work.product).large) return runTiled(work, operands, launcher);
  startWork(work, operands, true, launcher,
            [&](bool, const Product& p, const Epilogue<float>& epilogue, Grid grid) {
              withLoaders(work.layout, factors, [&]<class L>(const auto& a, const auto& b) {
                launch<asyncKernel<L>>(launcher, grid, AsyncTile::kThreads, kAsyncBytes<L>,
                                       viewOf<const float>(operands.a), a,
                                       viewOf<const float>(operands.b), b, p, epilogue);
              });
            });
}

}  // namespace figment::cuda
