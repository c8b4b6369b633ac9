#include "tf32.h"
#include "tf32_async.h"

namespace figment::cuda {

void runTf32Async(const Work& work, const WorkOperands& operands, Launcher& launcher) {
  const AlignedFactors factors(work, true, true);
  startWork(work, operands, true, launcher,
            [&](bool, const Product& p, const Epilogue<float>& epilogue, Grid grid) {
              withLoaders(work.layout, factors, [&]<class L>(const auto& a, const auto& b) {
                launch<tf32AsyncKernel<L>>(launcher, grid, Tf32AsyncTile::kThreads,
                                           Tf32AsyncTile::kRingBytes,
                                           viewOf<const uint32_t>(operands.a), a,
                                           viewOf<const uint32_t>(operands.b), b, p, epilogue);
              });
            });
}

void runTf32(const Work& work, const WorkOperands& operands, Launcher& launcher) {
  if (largeOfSingles(work, operands.a, operands.b, AlignedFactors(work, operands)))
    return runTf32Async(work, operands, launcher);
  runStaged<Tf32Arithmetic>(work, operands, launcher);
}

}  // namespace figment::cuda
