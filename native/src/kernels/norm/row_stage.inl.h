// Rows of operands in any 32- or 16-bit float format, as the floats that row kernels compute with:
// f32 rows where they lie, 16-bit ones through a copy of a few rows in scratch memory, widened on
// the way in and rounded once on the way out. Include only from files compiled for one instruction
// set.
#pragma once

#include "../gemm/elements.inl.h"
#include "../simd/bf16.h"
#include "isa_variant.h"

namespace figment::FIGMENT_ISA {

using gemm::Elements;
using gemm::Results;

/// Where check() allows any mix of such formats: all but f64, which is the reference's.
inline int supportsRows(const OpCall& call) {
  return gemm::isTileFormat(call.in[0].format) ? kVariantPreference : -1;
}

/// Scratch of a row kernel: `vectors` copies of whole vectors, then `buffers` for each worker, of
/// `floats` each. Nothing where no operand is 16-bit.
struct RowStage {
  float* memory;
  int64_t floats;
  int64_t vectors, buffers;

  RowStage(std::byte* scratch, int64_t count, int64_t vectors, int64_t buffers)
      : memory(reinterpret_cast<float*>(scratch)),
        floats(alignedFloats(count)),
        vectors(vectors),
        buffers(buffers) {}
  size_t bytes(const OpCall& call, int threads) const {
    bool half = false;
    for (int i = 0; i < call.inCount; i++) half |= gemm::isHalf(call.in[i].format);
    for (int i = 0; i < call.outCount; i++) half |= gemm::isHalf(call.out[i].format);
    return half ? size_t((vectors + buffers * threads) * floats) * sizeof(float) : 0;
  }
  float* buffer(int worker, int64_t i) const {
    return memory ? memory + (vectors + worker * buffers + i) * floats : nullptr;
  }
  /// A whole vector as floats, copied before any row is taken.
  const float* vector(const Operand& operand, int64_t i) const {
    const Elements from = Elements::of(operand);
    if (!from.half()) return from.floats();
    gemm::widen(memory + i * floats, from, operand.elements());
    return memory + i * floats;
  }
};

/// `count` elements as floats: where they lie, or in `copy`.
FIGMENT_INLINE const float* readRows(Elements from, int64_t count, float* copy) {
  if (!from.half()) return from.floats();
  gemm::widen(copy, from, count);
  return copy;
}
/// Where to write floats that `keepRows` then brings to their place.
FIGMENT_INLINE float* rowsToWrite(Results to, float* copy) {
  return to.half() ? copy : to.floats();
}
FIGMENT_INLINE void keepRows(Results to, const float* written, int64_t count) {
  if (to.format == Format::bf16)
    narrowToBf16(reinterpret_cast<uint16_t*>(to.data), written, count);
  else if (to.half())
    gemm::narrow(to, written, count);
}

}  // namespace figment::FIGMENT_ISA
