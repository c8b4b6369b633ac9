// What products and convolutions read behind their factors: activation(scale ⊙ (a·b) + bias) +
// addend, of which the scale has a number for each column or one for all, the bias one for each
// column, and the addend the result's shape. The operands that there are come in this order.
#pragma once

#include "kernels/kernel.h"

namespace figment {

struct EpilogueOperands {
  const Operand *scale = nullptr, *bias = nullptr, *addend = nullptr;

  /// All null in gradients, whose parameters name none.
  template <class P>
  FIGMENT_ALWAYS_INLINE static EpilogueOperands of(const OpCall& call) {
    EpilogueOperands e;
    if constexpr (requires(P p) { p.addend; }) {
      const P& p = call.as<P>();
      const Operand* next = call.in + 2;
      if (p.scale) e.scale = next++;
      if (p.bias) e.bias = next++;
      if (p.addend) e.addend = next;
    }
    return e;
  }
  FIGMENT_ALWAYS_INLINE int count() const {
    return (scale != nullptr) + (bias != nullptr) + (addend != nullptr);
  }
};

/// What is wrong with the flags that say which there are, or null.
template <class P>
constexpr const char* epilogueProblem(const P& p) {
  if (p.scale != 0 && p.scale != 1) return "scale must be 0 or 1";
  if (p.bias != 0 && p.bias != 1) return "bias must be 0 or 1";
  if (p.addend != 0 && p.addend != 1) return "addend must be 0 or 1";
  return nullptr;
}
/// Whether a scale has a number for each column or one for all.
FIGMENT_ALWAYS_INLINE bool scalesColumns(const Operand& scale, int64_t columns) {
  return scale.hasShape({columns}) || scale.hasShape({1});
}

/// From the number of one column to that of the next.
FIGMENT_ALWAYS_INLINE int32_t columnStepOf(const Operand& numbers) {
  return numbers.elements() == 1 ? 0 : 1;
}

}  // namespace figment
