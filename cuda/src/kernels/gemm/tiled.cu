#include "start.h"
#include "tiled.h"
#include "tiled_async.h"

namespace figment::cuda {

void runTiled(const Work& work, const WorkOperands& operands, Launcher& launcher) {
  const AlignedFactors factors(work, operands);
  startWork(work, operands, true, launcher,
            [&](bool large, const Product& p, const Epilogue<float>& epilogue, Grid grid) {
              withLoaders(work.layout, factors, [&]<class L>(const auto& a, const auto& b) {
                const auto start = [&]<class Tile>(Tile) {
                  launch<tiledKernel<L, Tile>>(launcher, grid, Tile::kThreads, Tile::kSharedBytes,
                                               Floats<float>(operands.a), a,
                                               Floats<float>(operands.b), b, p, epilogue);
                };
                large ? start(SimtTile<8>()) : start(SimtTile<4>());
              });
            });
}

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
