// Operands of products as they lie in memory: f32, bf16 or f16. Arithmetic is f32, so 16-bit
// elements are widened by the copies that bring factors into the order of the tiles, and results
// are narrowed from sums that are f32. Include only from files compiled for one instruction set.
#pragma once

#include "kernels/kernel.h"
#include "kernels/simd/bf16.h"

namespace figment::FIGMENT_ISA::gemm {

constexpr bool isHalf(Format format) { return format == Format::bf16 || format == Format::f16; }
/// The formats that the tiled kernels read and write.
constexpr bool isTileFormat(Format format) { return format == Format::f32 || isHalf(format); }

/// Whether the first `inputs` and the result have such formats, each its own.
inline bool tileFormats(const OpCall& call, int inputs) {
  for (int i = 0; i < inputs; i++)
    if (!isTileFormat(call.in[i].format)) return false;
  return isTileFormat(call.out[0].format);
}

/// Elements of one format, at `Byte*`.
template <class Byte, class Float>
struct ElementsAt {
  Byte* data = nullptr;
  Format format = Format::f32;

  FIGMENT_INLINE static ElementsAt of(const Operand& operand) {
    return {static_cast<Byte*>(operand.data), operand.format};
  }
  FIGMENT_INLINE static ElementsAt of(Float* floats) {
    return {reinterpret_cast<Byte*>(floats), Format::f32};
  }
  FIGMENT_INLINE ElementsAt operator+(int64_t count) const {
    return {data + count * (isHalf(format) ? 2 : 4), format};
  }
  FIGMENT_INLINE bool half() const { return isHalf(format); }
  FIGMENT_INLINE bool given() const { return data != nullptr; }
  /// Only for f32.
  FIGMENT_INLINE Float* floats() const { return reinterpret_cast<Float*>(data); }
};

/// What is read.
using Elements = ElementsAt<const std::byte, const float>;
/// What is written.
using Results = ElementsAt<std::byte, float>;

FIGMENT_INLINE void copyFloats(float* to, const float* from, int64_t count) {
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) F32::load(from + i).store(to + i);
  if (i < count) F32::loadPartial(from + i, int(count - i)).storePartial(to + i, int(count - i));
}

/// The first `count` (up to kLanes) elements, zero in the other lanes.
FIGMENT_INLINE F32 loadElements(Elements from, int count) {
  const uint16_t* bits = reinterpret_cast<const uint16_t*>(from.data);
  if (from.format == Format::bf16)
    return count == kLanes ? loadBf16(bits) : loadBf16Partial(bits, count);
  if (from.format == Format::f16)
    return count == kLanes ? loadF16(bits) : loadF16Partial(bits, count);
  return count == kLanes ? F32::load(from.floats()) : F32::loadPartial(from.floats(), count);
}

FIGMENT_INLINE void storeElements(Results to, F32 value, int count) {
  uint16_t* bits = reinterpret_cast<uint16_t*>(to.data);
  if (to.format == Format::bf16)
    count == kLanes ? storeBf16(bits, value) : storeBf16Partial(bits, value, count);
  else if (to.format == Format::f16)
    count == kLanes ? storeF16(bits, value) : storeF16Partial(bits, value, count);
  else
    count == kLanes ? value.store(to.floats()) : value.storePartial(to.floats(), count);
}

FIGMENT_INLINE float loadElement(Elements from, int64_t index) {
  const Elements at = from + index;
  if (!at.half()) return *at.floats();
  uint16_t bits;
  __builtin_memcpy(&bits, at.data, sizeof bits);
  return fromBits(at.format == Format::bf16 ? uint32_t(bits) << 16 : widenF16(bits));
}

FIGMENT_INLINE void storeElement(Results to, int64_t index, float value) {
  const Results at = to + index;
  if (!at.half()) {
    *at.floats() = value;
    return;
  }
  const uint16_t bits =
      at.format == Format::bf16 ? narrowBf16(toBits(value)) : narrowF16(toBits(value));
  __builtin_memcpy(at.data, &bits, sizeof bits);
}

/// Copies elements to floats.
inline void widen(float* to, Elements from, int64_t count) {
  if (!from.half()) {
    copyFloats(to, from.floats(), count);
    return;
  }
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) loadElements(from + i, kLanes).store(to + i);
  if (const int rest = int(count - i)) loadElements(from + i, rest).storePartial(to + i, rest);
}

/// Copies floats to elements.
inline void narrow(Results to, const float* from, int64_t count) {
  if (to.format == Format::bf16)
    return narrowToBf16(reinterpret_cast<uint16_t*>(to.data), from, count);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) storeElements(to + i, F32::load(from + i), kLanes);
  if (const int rest = int(count - i))
    storeElements(to + i, F32::loadPartial(from + i, rest), rest);
}

}  // namespace figment::FIGMENT_ISA::gemm
