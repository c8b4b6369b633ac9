// What the plain implementations, the oracles of the others, have in common: how one is registered,
// and which instance of a template runs.
#pragma once

#include "kernel.h"
#include "widened.h"

namespace figment {

using RunKernel = void (*)(const OpCall&, Context&);

/// The plain implementation of an op: it runs every call, and is chosen when nothing else can.
constexpr Variant referenceVariant(const char* op, RunKernel run,
                                   size_t (*scratch)(const OpCall&, int) = nullptr) {
  return {.op = op,
          .name = "reference",
          .isa = Isa::generic,
          .supports = [](const OpCall&) { return kReferencePreference; },
          .scratch = scratch,
          .run = run};
}

/// Runs the instance of the results' format. Other operands may be of a format of their own; a call
/// without results is one without work.
template <RunKernel kSingle, RunKernel kDouble>
void byFloat(const OpCall& call, Context& context) {
  const bool wide = call.outCount > 0 && call.out[0].format == Format::f64;
  (wide ? kDouble : kSingle)(call, context);
}

/// Like byFloat, for ops that take 16-bit operands as they are: these are widened around the
/// instance.
template <RunKernel kSingle, RunKernel kDouble>
void byWidened(const OpCall& call, Context& context) {
  runWidened(call, context, kSingle, kDouble);
}

/// Runs the instance of the first operand's format.
template <RunKernel kSingle, RunKernel kDouble, RunKernel kInteger>
void byNumber(const OpCall& call, Context& context) {
  switch (call.in[0].format) {
    case Format::f32:
      return kSingle(call, context);
    case Format::f64:
      return kDouble(call, context);
    default:
      return kInteger(call, context);
  }
}

}  // namespace figment
