// Operands of f32, bf16 and f16 in one call, for the kernels that take each in its own format: what
// the loader asks of them, and how reference kernels meet them.
#pragma once

#include <string>

#include "kernel.h"

namespace figment {

/// "" when the first `inputs` and all outputs are floats of at most 32 bits, or all f64; otherwise
/// the rule that is broken.
std::string floatFormatProblem(const OpCall& call, int inputs);

/// Runs a reference kernel on contiguous operands: `wide` for f64, `single` for the others, with
/// 16-bit inputs widened before and 16-bit results narrowed after.
void runWidened(const OpCall& call, Context& context, void (*single)(const OpCall&, Context&),
                void (*wide)(const OpCall&, Context&));

}  // namespace figment
