// Operands of which each call has a format of its own: f32, bf16 and f16 in any mix, or f64.
#pragma once

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

  Global<const uint8_t> bytes;
  Format format;
};

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

}  // namespace figment::cuda
