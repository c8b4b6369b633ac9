// castAll over many tensors at once, vectorised.
#pragma once

#include "../norm/row_stage.inl.h"
#include "../optimizer/multi_tensor.inl.h"
#include "../params/castAll.generated.h"
#include "../simd/streaming.h"

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

/// Numbers rounded to bf16 past the caches.
void streamBf16(uint16_t* to, const float* from, int64_t elements) {
  constexpr int64_t kPiece = 1024, kHalves = 2;
  alignas(64) float piece[kPiece / kHalves];
  for (int64_t i = 0; i < elements; i += kPiece) {
    const int64_t count = smaller(kPiece, elements - i);
    narrowToBf16(reinterpret_cast<uint16_t*>(piece), from + i, count);
    float* target = reinterpret_cast<float*>(to + i);
    const int64_t whole = count / (kHalves * kLanes) * kLanes;
    for (int64_t j = 0; j < whole; j += kLanes) F32::load(piece + j).stream(target + j);
    __builtin_memcpy(target + whole, piece + whole, size_t(count - kHalves * whole) * 2);
  }
}

/// Whether the results are so many that they displace themselves in the caches.
bool fillsCaches(const OpCall& call) {
  int64_t in = 0, out = 0;
  for (int t = 0; t < call.inCount; t++) {
    const int64_t elements = flatElements(call.in[t]);
    in += elements * int64_t(formatBytes(call.in[t].format));
    out += elements * int64_t(formatBytes(call.out[t].format));
  }
  return out >= kStreamedBytes && in + out > kStreamedTraffic;
}

void run(const OpCall& call, Context& context) {
  const SweepTable table(call.in, call.inCount, context.scratch());
  const bool streams = fillsCaches(call);
  sweep(table, call.in, context, [&](int t, int64_t first, int64_t elements, int64_t) {
    const Operand &x = call.in[t], &y = call.out[t];
    const bool rounds = x.format == Format::f32 && y.format == Format::bf16;
    if (streams && rounds && reinterpret_cast<uintptr_t>(y.data) % 64 == 0)
      return streamBf16(y.as<uint16_t>() + first, x.as<const float>() + first, elements);
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
