// Operands of floats in whatever format they have, element by element: the format is asked at each
// access, which costs little where all threads ask the same. Kernels on them exist once for all
// formats of at most 32 bits (W = float), and once for f64 (W = double).
#pragma once

#include "kernels/kernel.h"
#include "launch.h"
#include "memory.h"
#include "number.h"

namespace figment::cuda {

template <class W>
struct Floats {
  const void* data = nullptr;
  int64_t count = 0;
  Format format = Format::f32;

  FIGMENT_DEVICE W operator[](int64_t i) const {
    if constexpr (sizeof(W) == sizeof(double)) {
      return as<double>()[i];
    } else {
      if (format == Format::f32) return as<float>()[i];
      if (format == Format::bf16) return widen(as<Bf16>()[i]);
      return widen(as<F16>()[i]);
    }
  }
  template <class T>
  FIGMENT_BOTH Global<const T> as() const {
    return Global<const T>(static_cast<const T*>(data), count);
  }
  FIGMENT_BOTH explicit operator bool() const { return data != nullptr; }
};

/// The same for results.
template <class W>
struct FloatResults {
  void* data = nullptr;
  int64_t count = 0;
  Format format = Format::f32;

  FIGMENT_DEVICE void set(int64_t i, W value) const {
    if constexpr (sizeof(W) == sizeof(double)) {
      as<double>()[i] = value;
    } else {
      if (format == Format::f32)
        as<float>()[i] = value;
      else if (format == Format::bf16)
        as<Bf16>()[i] = narrow<Bf16>(value);
      else
        as<F16>()[i] = narrow<F16>(value);
    }
  }
  template <class T>
  FIGMENT_BOTH Global<T> as() const {
    return Global<T>(static_cast<T*>(data), count);
  }
  FIGMENT_BOTH explicit operator bool() const { return data != nullptr; }
};

/// Views of contiguous operands.
template <class W>
Floats<W> floatsOf(const Operand& operand) {
  return {operand.data, operand.elements(), operand.format};
}
template <class W>
FloatResults<W> resultsOf(const Operand& operand) {
  return {operand.data, operand.elements(), operand.format};
}

/// Runs the instance of the first operand's width.
template <void (*kSingle)(const OpCall&, Launcher&), void (*kDouble)(const OpCall&, Launcher&)>
void byWidth(const OpCall& call, Context& context) {
  (call.in[0].format == Format::f64 ? kDouble : kSingle)(call, launcherOf(context));
}

/// A variant that runs every call.
constexpr Variant plainVariant(const char* op, void (*run)(const OpCall&, Context&)) {
  return {.op = op,
          .name = "plain",
          .isa = Isa::sm75,
          .supports = [](const OpCall&) { return kReferencePreference; },
          .scratch = nullptr,
          .run = run};
}

}  // namespace figment::cuda
