// The kernels that take the calls of attention whose numbers tiles cannot hold.
#pragma once

#include "../kernel.h"

namespace figment {

/// What runBesideTiles needs.
size_t scratchBesideTiles(const char* op, const char* name, const OpCall& call, int threads);

/// Runs the call on another kernel, and counts a fallback.
void runBesideTiles(const char* op, const char* name, const OpCall& call, Context& context);

}  // namespace figment
