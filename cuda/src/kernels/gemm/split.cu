#include "split.h"
#include "start.h"

namespace figment::cuda {

void runSplit(const Work& work, const WorkOperands& operands, Launcher& launcher) {
  const AlignedFactors factors(work, atSixteenBytes(operands.a), atSixteenBytes(operands.b));
  startWork(work, operands, true, launcher,
            [&](bool large, const Product& p, const Epilogue<float>& epilogue, Grid grid) {
              withLoaders(work.layout, factors, [&]<class L>(const auto& a, const auto& b) {
                const auto start = [&]<class Tile>(Tile) {
                  launch<splitKernel<L, Tile>>(launcher, grid, Tile::kThreads, Tile::kSharedBytes,
                                               Floats<float>(operands.a), a,
                                               Floats<float>(operands.b), b, p, epilogue);
                };
                large ? start(LargeSplitTile()) : start(SmallSplitTile());
              });
            });
}

}  // namespace figment::cuda
