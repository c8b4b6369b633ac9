#include "split.h"

namespace figment::cuda {

void runSplit(const Work& work, const WorkOperands& operands, Launcher& launcher) {
  runStaged<SplitArithmetic>(work, operands, launcher);
}

}  // namespace figment::cuda
