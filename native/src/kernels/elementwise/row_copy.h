// Copies and casts whose rows lie in one piece in both operands: concatenation, slices, padding.
// They move row by row, with nothing to prepare for each tile.
#pragma once

#include "layout.h"

namespace figment::elementwise {

/// Moves in[0] to out[0] if the space is of such rows; otherwise answers false and does nothing.
/// Elements go through `convert`; null: formats are equal.
bool copyRows(const OpCall& call, Context& context, const Space& space, Block convert);

}  // namespace figment::elementwise
