// Operands of which each call has a format of its own: f32, bf16 and f16 in any mix, or f64.
#pragma once

#include "../../device/four.h"
#include "../../device/launch.h"
#include "../../device/number.h"

namespace figment::cuda {

/// Elements read as f32 (T is float) or f64 (T is double, and so is the operand).
template <class T>
struct AnyFloats {
  static AnyFloats of(const Operand& operand) {
    return {Global<const uint8_t>(operand.as<const uint8_t>(),
                                  operand.elements() * int64_t(formatBytes(operand.format))),
            operand.format};
  }
  FIGMENT_DEVICE T operator[](int64_t i) const {
    if constexpr (sizeof(T) == sizeof(double)) {
      return bytes.template load<double>(i * 8);
    } else {
      if (format == Format::f32) return bytes.template load<float>(i * 4);
      if (format == Format::bf16) return widen(bytes.template load<Bf16>(i * 2));
      return widen(bytes.template load<F16>(i * 2));
    }
  }

  /// Elements i … i + 3, of which the first `there` are read and the others are zero. With
  /// `vectors`, four that are there lie aligned.
  FIGMENT_DEVICE float4 four(int64_t i, int there, bool vectors) const {
    static_assert(sizeof(T) == sizeof(float));
    if (!vectors || there < 4)
      return make_float4(there > 0 ? (*this)[i] : 0, there > 1 ? (*this)[i + 1] : 0,
                         there > 2 ? (*this)[i + 2] : 0, there > 3 ? (*this)[i + 3] : 0);
    if (format == Format::f32) return bytes.template load<float4>(i * 4);
    const uint2 words = bytes.template load<uint2>(i * 2);
    return format == Format::bf16 ? widenFour<Bf16>(words) : widenFour<F16>(words);
  }

  Global<const uint8_t> bytes;
  Format format;

 private:
  template <class Half>
  FIGMENT_DEVICE static float4 widenFour(uint2 words) {
    return make_float4(widen(Half{uint16_t(words.x)}), widen(Half{uint16_t(words.x >> 16)}),
                       widen(Half{uint16_t(words.y)}), widen(Half{uint16_t(words.y >> 16)}));
  }
};

/// Whether vectors of four elements (of eight 16-bit ones) may be moved from multiples of such a
/// number on.
inline bool alignedForVectors(const Operand* operands, int count) {
  for (int i = 0; i < count; i++)
    if (!startsAligned(operands[i])) return false;
  return true;
}

/// Results, narrowed to what the operand stores.
template <class T>
struct AnyResults {
  static AnyResults of(const Operand& operand) {
    return {Global<uint8_t>(operand.as<uint8_t>(),
                            operand.elements() * int64_t(formatBytes(operand.format))),
            operand.format};
  }
  FIGMENT_DEVICE void set(int64_t i, T value) const {
    if constexpr (sizeof(T) == sizeof(double)) {
      bytes.template store<double>(i * 8, value);
    } else {
      if (format == Format::f32)
        bytes.template store<float>(i * 4, value);
      else if (format == Format::bf16)
        bytes.template store<Bf16>(i * 2, narrow<Bf16>(value));
      else
        bytes.template store<F16>(i * 2, narrow<F16>(value));
    }
  }

  Global<uint8_t> bytes;
  Format format;
};

/// Results of kernels on 16-bit numbers: those, or f32. Other formats would be a third of such a
/// kernel's instructions.
template <class T>
struct PairResults {
  static PairResults of(const Operand& operand) {
    const auto whole = AnyResults<float>::of(operand);
    return {whole.bytes, operand.format == Format::f32};
  }
  /// Two neighbours, the first at an even place.
  FIGMENT_DEVICE void setPair(int64_t i, float a, float b) const {
    if (wide)
      bytes.template store<float2>(i * 4, make_float2(a, b));
    else
      bytes.template store<uint32_t>(
          i * 2, uint32_t(narrow<T>(a).bits) | uint32_t(narrow<T>(b).bits) << 16);
  }

  Global<uint8_t> bytes;
  bool wide;
};
/// Whether PairResults of the operands' format serve for all results.
inline bool storesPairs(const OpCall& call, int results) {
  for (int i = 0; i < results; i++)
    if (call.out[i].format != Format::f32 && call.out[i].format != call.in[0].format) return false;
  return true;
}

}  // namespace figment::cuda
