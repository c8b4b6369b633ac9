// The numbers that products and convolutions add to their results last. Wherever a kernel stores a
// result, what is added to it lies as far from the first as the result does from the first of all.
// Include only from files compiled for one instruction set.
#pragma once

#include "kernels/gemm/addend.h"
#include "kernels/gemm/elements.inl.h"

namespace figment::FIGMENT_ISA::gemm {

/// What is added to finished results, number for number, if anything is.
struct Addend {
  Elements numbers;
  Results results;  ///< all, which have the same shape

  template <class P>
  static Addend of(const OpCall& call) {
    const Operand* addend = addendOf<P>(call);
    if (!addend) return {};
    return {Elements::of(*addend), Results::of(call.out[0])};
  }
  FIGMENT_INLINE bool given() const { return numbers.given(); }
  /// Whether there is none, or of f32.
  FIGMENT_INLINE bool single() const { return !given() || !numbers.half(); }
  /// What belongs to the results at a place.
  FIGMENT_INLINE Elements at(const void* result) const {
    const int64_t bytes = static_cast<const std::byte*>(result) - results.data;
    return numbers + bytes / (results.half() ? 2 : 4);
  }
  /// The same of f32, or null without an addend.
  FIGMENT_INLINE const float* floatsAt(const void* result) const {
    return given() ? at(result).floats() : nullptr;
  }
};

/// Adds elements to floats.
inline void addElements(float* to, Elements from, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes)
    (F32::load(to + i) + loadElements(from + i, kLanes)).store(to + i);
  if (const int rest = int(count - i))
    (F32::loadPartial(to + i, rest) + loadElements(from + i, rest)).storePartial(to + i, rest);
}

}  // namespace figment::FIGMENT_ISA::gemm
