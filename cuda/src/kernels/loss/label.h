// The check of labels that kernels of crossEntropy share.
#pragma once

#include "../../device/failure.h"

namespace figment::cuda {

/// Whether the row's label is one; the thread that is told to reports those that are not.
FIGMENT_DEVICE bool labelInRange(const FailureSink& failures, int32_t label, int64_t row,
                                 int64_t cols, bool reports) {
  const bool inside = label >= 0 && label < cols;
  if (!inside && reports) failures.report(0, row, label);
  return inside;
}

}  // namespace figment::cuda
