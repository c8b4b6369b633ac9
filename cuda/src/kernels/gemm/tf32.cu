#include "tf32.h"

namespace figment::cuda {

void runTf32(const Work& work, const WorkOperands& operands, Launcher& launcher) {
  if (largeOfSingles(work, operands.a, operands.b, AlignedFactors(work, operands)))
    return runTf32Async(work, operands, launcher);
  runStaged<Tf32Arithmetic>(work, operands, launcher);
}

}  // namespace figment::cuda
