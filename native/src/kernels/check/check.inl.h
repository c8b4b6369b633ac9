// checkFinite in one parallel sweep: each chunk notes whether it holds a number that is not finite;
// the first such chunk is then searched.
#pragma once

#include "../optimizer/multi_tensor.inl.h"
#include "report.h"

namespace figment::FIGMENT_ISA {
namespace {

/// A loop without branches, for the compiler to vectorise.
template <class Word>
FIGMENT_INLINE bool holdsAll(const Operand& x, int64_t first, int64_t count) {
  const Word* words = static_cast<const Word*>(x.data) + first;
  const Word bits = Word(exponentBits(x.format));
  Word found = 0;
  for (int64_t i = 0; i < count; i++) found |= Word((words[i] & bits) == bits);
  return found != 0;
}

FIGMENT_INLINE bool chunkHolds(const Operand& x, int64_t first, int64_t elements) {
  if (x.format == Format::f32) return holdsAll<uint32_t>(x, first, elements);
  if (x.format == Format::f64) return holdsAll<uint64_t>(x, first, elements);
  return holdsAll<uint16_t>(x, first, elements);
}

void run(const OpCall& call, Context& context) {
  const SweepTable table(call.in, call.inCount, context.scratch());
  auto* found = reinterpret_cast<uint8_t*>(context.scratch() + SweepTable::bytes(call.inCount));
  sweep(table, call.in, context, [&](int t, int64_t first, int64_t elements, int64_t chunk) {
    found[chunk] = chunkHolds(call.in[t], first, elements);
  });
  for (int64_t chunk = 0; chunk < table.chunks(); chunk++) {
    if (!found[chunk]) continue;
    const int tensor = table.tensorOf(chunk);
    const int64_t first = (chunk - table.firstChunk[tensor]) * kSweepChunk;
    return reportFirst(call, context, tensor, first,
                       smaller(kSweepChunk, flatElements(call.in[tensor]) - first));
  }
}

size_t scratch(const OpCall& call, int) {
  int64_t chunks = 0;
  for (int t = 0; t < call.inCount; t++)
    chunks += ceilDivide(flatElements(call.in[t]), kSweepChunk);
  return SweepTable::bytes(call.inCount) + size_t(chunks);
}

int supports(const OpCall&) { return kVariantPreference; }

constexpr Variant variant{"checkFinite", kVariantName, kVariantIsa, supports, scratch, run};
const RegisterVariant registrar{variant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
