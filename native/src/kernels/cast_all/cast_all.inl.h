// castAll over many tensors at once, vectorised.
#pragma once

#include "../norm/row_stage.inl.h"
#include "../optimizer/multi_tensor.inl.h"
#include "../params/castAll.generated.h"

namespace figment::FIGMENT_ISA {
namespace {

/// Elements from `first` on of formats that differ.
void convert(const Operand& x, const Operand& y, int64_t first, int64_t elements) {
  const Elements from = Elements::of(x) + first;
  const Results to = Results::of(y) + first;
  if (x.format == Format::f32) return keepRows(to, from.floats(), elements);
  if (y.format == Format::f32) return gemm::widen(to.floats(), from, elements);
  forLanes(elements, [&](int64_t i, int lanes) {
    gemm::storeElements(to + i, gemm::loadElements(from + i, lanes), lanes);
  });
}

void run(const OpCall& call, Context& context) {
  const SweepTable table(call.in, call.inCount, context.scratch());
  sweep(table, call.in, context, [&](int t, int64_t first, int64_t elements, int64_t) {
    const Operand &x = call.in[t], &y = call.out[t];
    if (x.format != y.format) return convert(x, y, first, elements);
    const int64_t size = int64_t(formatBytes(x.format));
    __builtin_memcpy(y.as<std::byte>() + first * size, x.as<const std::byte>() + first * size,
                     size_t(elements * size));
  });
}

size_t scratch(const OpCall& call, int) { return SweepTable::bytes(call.inCount); }
int supports(const OpCall&) { return kVariantPreference; }

constexpr Variant variant{"castAll", kVariantName, kVariantIsa, supports, scratch, run};
const RegisterVariant registrar{variant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
