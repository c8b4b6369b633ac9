#include "tf32.h"

namespace figment::cuda {

void runTf32(const Work& work, const WorkOperands& operands, Launcher& launcher) {
  runStaged<Tf32Arithmetic>(work, operands, launcher);
}

}  // namespace figment::cuda
