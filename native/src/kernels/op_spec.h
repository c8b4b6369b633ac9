// Writes an operation's OpSpec: its schema comes from the generated struct of its parameters.
#pragma once

#include "kernel.h"

namespace figment {

/// The spec of an op without a byte tail.
template <class P>
constexpr OpSpec specOf(const char* name, std::string (*check)(const OpCall&),
                        bool (*mayAlias)(const OpCall&, int, int), Cost (*cost)(const OpCall&)) {
  return {.name = name,
          .schemaHash = P::kHash,
          .paramBytes = sizeof(P),
          .hasTail = false,
          .check = check,
          .mayAlias = mayAlias,
          .cost = cost};
}

/// For ops whose results may start at no operand.
inline bool neverAliases(const OpCall&, int, int) { return false; }

/// Whether a result takes the very bytes of an operand of its shape.
inline bool sameFormat(const OpCall& call, int out, int in) {
  return call.in[in].format == call.out[out].format;
}

/// One operation for each element of the first operand.
inline Cost costOfElements(const OpCall& call) {
  return {.flops = double(call.in[0].elements()), .bytes = operandBytes(call)};
}

}  // namespace figment
