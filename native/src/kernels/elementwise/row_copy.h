// Copies whose rows lie in one piece in both operands: concatenation, slices, padding. They move
// row by row, with nothing to prepare for each tile.
#pragma once

#include "layout.h"

namespace figment::elementwise {

/// Copies in[0] to out[0] (equal formats) if the space is of such rows; otherwise answers false and
/// does nothing.
bool copyRows(const OpCall& call, Context& context, const Space& space);

}  // namespace figment::elementwise
