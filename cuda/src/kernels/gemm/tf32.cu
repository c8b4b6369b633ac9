#include "tf32.h"

namespace figment::cuda {

void runTf32(const Work& work, const WorkOperands& operands, Launcher& launcher) {
  const bool singles = operands.a.format == Format::f32 && operands.b.format == Format::f32;
  const AlignedFactors factors(work, atSixteenBytes(operands.a), atSixteenBytes(operands.b));
  if (singles && factors.both && planOf(work.product).large)
    return runTf32Async(work, operands, launcher);
  runStaged<Tf32Arithmetic>(work, operands, launcher);
}

}  // namespace figment::cuda
