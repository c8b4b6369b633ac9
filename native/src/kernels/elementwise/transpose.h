// Copies that exchange the fastest dimension: blocks that are read along one operand's rows and
// written along the other's, so that both sides move whole cache lines.
#pragma once

#include "layout.h"

namespace figment::elementwise {

/// Copies in[0] to out[0] (equal formats) if the space is such a transposition; otherwise answers
/// false and does nothing.
bool transposeCopy(const OpCall& call, Context& context, const Space& space);

}  // namespace figment::elementwise
