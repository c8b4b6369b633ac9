// What the kernels of checkFinite share: how a number that is not finite is told.
#pragma once

#include "../kernel.h"

namespace figment {

/// Fails the run for the first element of [first, first + elements) of input `tensor` that is not
/// finite, naming the input by the call's tail; does nothing when there is none.
void reportFirst(const OpCall& call, Context& context, int tensor, int64_t first, int64_t elements);

}  // namespace figment
