// The report of a row of logits that stands for no distribution.
#include "draw.h"

namespace figment::categorical {

bool rowsHaveDistributions(Context& context, const double* running, int64_t rows, int64_t chunks) {
  for (int64_t r = 0; r < rows; r++) {
    if (running[(r + 1) * chunks - 1] > 0) continue;  // NaN is not
    context.fail("ERR_FIGMENT_VALUE",
                 "categorical: row " + std::to_string(r) +
                     " of the logits has a NaN or +Inf, or is -Inf throughout");
    return false;
  }
  return true;
}

}  // namespace figment::categorical
