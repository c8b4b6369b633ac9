// Range check of class labels.
#include "label.h"

namespace figment {

bool labelsInRange(const int32_t* labels, int64_t rows, int64_t cols, Context& context) {
  for (int64_t r = 0; r < rows; r++) {
    if (labels[r] >= 0 && labels[r] < cols) continue;
    context.fail("ERR_FIGMENT_INDEX", "crossEntropy: label " + std::to_string(labels[r]) +
                                          " at row " + std::to_string(r) + " is outside [0, " +
                                          std::to_string(cols) + ")");
    return false;
  }
  return true;
}

}  // namespace figment
