// What becomes of sums of products before they are stored: activation(scale ⊙ sum + bias) + addend.
// Products and additions are rounded apart, as by operations one after another. Include only from
// files compiled for one instruction set.
#pragma once

#include "kernels/gemm/activation.h"
#include "kernels/gemm/epilogue.h"
#include "kernels/gemm/pack.inl.h"
#include "kernels/simd/math.h"

namespace figment::FIGMENT_ISA::gemm {

/// A number for each column, or the same for all, if there are any. What there is does not depend
/// on operands' data, for scratch is asked for before they have any.
struct ColumnNumbers {
  Elements numbers;
  bool exist = false, same = false;

  static ColumnNumbers of(const Operand* operand) {
    if (!operand) return {};
    return {Elements::of(*operand), true, columnStepOf(*operand) == 0};
  }
  FIGMENT_INLINE bool given() const { return exist; }
  /// Those of `count` columns (up to kLanes); anything in the other lanes.
  FIGMENT_INLINE F32 load(int64_t column, int count) const {
    return same ? F32::broadcast(loadElement(numbers, 0)) : loadElements(numbers + column, count);
  }
  void widen(float* to, int64_t column, int64_t count) const {
    if (!same) return gemm::widen(to, numbers + column, count);
    const float number = loadElement(numbers, 0);
    for (int64_t i = 0; i < count; i++) to[i] = number;
  }
};

/// Scale and bias of some columns as floats; null where there is none.
struct ColumnFloats {
  float *scale = nullptr, *bias = nullptr;

  FIGMENT_INLINE ColumnFloats operator+(int64_t columns) const {
    return {scale ? scale + columns : nullptr, bias ? bias + columns : nullptr};
  }
  /// Sums of columns from `i` on, of which `lanes` are wanted, scaled and shifted.
  FIGMENT_INLINE F32 applied(F32 sums, int64_t i, int lanes = kLanes) const {
    if (scale) sums = sums * loadFloats(scale + i, lanes);
    if (bias) sums += loadFloats(bias + i, lanes);
    return sums;
  }

 private:
  static FIGMENT_INLINE F32 loadFloats(const float* from, int lanes) {
    return lanes == kLanes ? F32::load(from) : F32::loadPartial(from, lanes);
  }
};

/// What is added to finished results, number for number, if anything is. Wherever a kernel stores a
/// result, what is added to it lies as far from the first as the result does from the first of all.
struct Addend {
  Elements numbers;
  Results results;  ///< all, which have the same shape
  bool exists = false;

  FIGMENT_INLINE bool given() const { return exists; }
  /// Whether there is none, or of f32.
  FIGMENT_INLINE bool single() const { return !given() || !numbers.half(); }
  /// What belongs to the results at a place; nothing without an addend.
  FIGMENT_INLINE Elements at(const void* result) const {
    if (!given()) return {};
    const int64_t bytes = static_cast<const std::byte*>(result) - results.data;
    return numbers + bytes / (results.half() ? 2 : 4);
  }
  /// The same of f32, or null.
  FIGMENT_INLINE const float* floatsAt(const void* result) const {
    return given() ? at(result).floats() : nullptr;
  }
};

FIGMENT_INLINE F32 activate(F32 x, int activation) {
  return activation == kSilu ? silu(x) : maximum(x, F32::zero());
}

/// All of it, as a call says.
struct Epilogue {
  ColumnNumbers scale, bias;
  int activation = kNoActivation;
  Addend addend;

  /// Nothing for gradients.
  template <class P>
  static Epilogue of(const OpCall& call) {
    Epilogue e;
    if constexpr (requires(P p) { p.activation; }) {
      const auto operands = EpilogueOperands::of<P>(call);
      e.scale = ColumnNumbers::of(operands.scale);
      e.bias = ColumnNumbers::of(operands.bias);
      e.activation = call.as<P>().activation;
      if (operands.addend)
        e.addend = {Elements::of(*operands.addend), Results::of(call.out[0]), true};
    }
    return e;
  }

  /// Memory for the numbers of so many columns.
  ColumnFloats take(Carver& carver, int64_t columns) const {
    ColumnFloats floats;
    if (scale.given()) floats.scale = carver.take<float>(columns);
    if (bias.given()) floats.bias = carver.take<float>(columns);
    return floats;
  }
  /// Fills it for columns from one on.
  void widen(const ColumnFloats& to, int64_t column, int64_t count) const {
    if (scale.given()) scale.widen(to.scale, column, count);
    if (bias.given()) bias.widen(to.bias, column, count);
  }
};

/// Finishes a row of sums where it lies: `columns` are those of its columns, `added` may be given.
inline void finishRow(float* row, int64_t count, const ColumnFloats& columns, int activation,
                      Elements added) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int lanes = int(smaller(kLanes, count - i));
    const bool whole = lanes == kLanes;
    F32 x =
        columns.applied(whole ? F32::load(row + i) : F32::loadPartial(row + i, lanes), i, lanes);
    if (activation != kNoActivation) x = activate(x, activation);
    if (added.given()) x += loadElements(added + i, lanes);
    whole ? x.store(row + i) : x.storePartial(row + i, lanes);
  }
}

}  // namespace figment::FIGMENT_ISA::gemm
