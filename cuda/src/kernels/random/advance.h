// The state of a random stream after a draw, by a kernel of its own: a draw may write the next
// state over the one that it reads, which none of its threads may do while others start.
#pragma once

#include "../../runtime/launcher.h"

namespace figment::cuda {

/// Writes to `next` the state after `elements` elements; `next` may be `state`.
void advanceStream(Launcher& launcher, const Operand& state, const Operand& next, int64_t elements);

}  // namespace figment::cuda
