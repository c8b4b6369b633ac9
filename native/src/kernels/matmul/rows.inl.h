// Which rows of a product on matrix tiles lie together. Include only from files compiled for one
// instruction set.
#pragma once

#include "kernels/params/matmul.generated.h"

namespace figment::FIGMENT_ISA::tiles {

/// One B for all products of a batch: then the batch is just more rows.
inline bool sharesB(const MatmulParams& p) {
  return !p.transA && p.batchStrideB == 0 && p.batchStrideA != 0;
}
inline int64_t rowsTogether(const MatmulParams& p) { return sharesB(p) ? p.batch * p.m : p.m; }

}  // namespace figment::FIGMENT_ISA::tiles
