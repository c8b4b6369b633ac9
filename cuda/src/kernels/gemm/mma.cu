#include "mma.h"
#include "start.h"

namespace figment::cuda {
namespace {

template <class T>
void runAs(const Work& work, const WorkOperands& operands, Launcher& launcher) {
  const AlignedFactors factors(work, operands);
  startWork(work, operands, factors.both, launcher,
            [&](bool large, const Product& p, const Epilogue<float>& epilogue, Grid grid) {
              withLoaders(work.layout, factors, [&]<class L>(const auto& a, const auto& b) {
                const auto start = [&]<class Tile>(Tile) {
                  launch<mmaKernel<T, L, Tile>>(launcher, grid, Tile::kThreads, Tile::kSharedBytes,
                                                viewOf<const T>(operands.a), a,
                                                viewOf<const T>(operands.b), b, p, epilogue);
                };
                large ? start(LargeMmaTile()) : start(SmallMmaTile());
              });
            });
}

}  // namespace

void runMma(const Work& work, const WorkOperands& operands, Launcher& launcher) {
  (operands.a.format == Format::bf16 ? runAs<Bf16> : runAs<F16>)(work, operands, launcher);
}

}  // namespace figment::cuda
