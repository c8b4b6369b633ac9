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

/// A copy past the caches; `to` is a multiple of a line.
void streamBytes(std::byte* to, const std::byte* from, int64_t bytes) {
  constexpr int64_t kVector = kLanes * int64_t(sizeof(float));
  const int64_t whole = bytes / kVector * kVector;
  for (int64_t i = 0; i < whole; i += kVector)
    F32::load(reinterpret_cast<const float*>(from + i)).stream(reinterpret_cast<float*>(to + i));
  __builtin_memcpy(to + whole, from + whole, size_t(bytes - whole));
}

/// Numbers rounded to bf16 past the caches, a piece that stays in the first-level one at a time.
void streamBf16(uint16_t* to, const float* from, int64_t elements) {
  constexpr int64_t kPiece = 1024;
  alignas(64) uint16_t piece[kPiece];
  for (int64_t i = 0; i < elements; i += kPiece) {
    const int64_t count = smaller(kPiece, elements - i);
    narrowToBf16(piece, from + i, count);
    streamBytes(reinterpret_cast<std::byte*>(to + i), reinterpret_cast<const std::byte*>(piece),
                count * int64_t(sizeof(uint16_t)));
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

/// False when elements of these formats are not streamed.
bool streamed(const Operand& x, const Operand& y, int64_t first, int64_t elements) {
  constexpr uintptr_t kLine = 64;
  const int64_t size = int64_t(formatBytes(y.format));
  std::byte* to = y.as<std::byte>() + first * size;
  if (reinterpret_cast<uintptr_t>(to) % kLine != 0) return false;
  if (x.format == y.format)
    streamBytes(to, x.as<const std::byte>() + first * size, elements * size);
  else if (x.format == Format::f32 && y.format == Format::bf16)
    streamBf16(reinterpret_cast<uint16_t*>(to), x.as<const float>() + first, elements);
  else
    return false;
  streamFence();
  return true;
}

void run(const OpCall& call, Context& context) {
  const SweepTable table(call.in, call.inCount, context.scratch());
  const bool streams = fillsCaches(call);
  sweep(table, call.in, context, [&](int t, int64_t first, int64_t elements, int64_t) {
    const Operand &x = call.in[t], &y = call.out[t];
    if (streams && streamed(x, y, first, elements)) return;
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
