// What products and convolutions add to their results last: an operand of the result's shape,
// behind the factors and the bias.
#pragma once

#include "kernels/kernel.h"

namespace figment {

/// Null where there is none, as in all gradients.
template <class P>
const Operand* addendOf(const OpCall& call) {
  if constexpr (requires(P p) { p.addend; }) {
    const P& p = call.as<P>();
    if (p.addend) return &call.in[2 + p.bias];
  }
  return nullptr;
}

}  // namespace figment
