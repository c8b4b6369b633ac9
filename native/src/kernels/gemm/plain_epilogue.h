// The plain meaning of what products and convolutions finish their sums with, in double:
// activation(scale ⊙ sum + bias) + addend.
#pragma once

#include "kernels/gemm/activation.h"
#include "kernels/gemm/epilogue.h"

namespace figment {

template <class T>
struct PlainEpilogue {
  const T *scale = nullptr, *bias = nullptr, *addend = nullptr;
  int32_t scaleStep = 0;  ///< from one column to the next
  int32_t activation = kNoActivation;

  template <class P>
  static PlainEpilogue of(const OpCall& call) {
    const auto operands = EpilogueOperands::of<P>(call);
    const auto numbers = [](const Operand* operand) {
      return operand ? operand->as<const T>() : nullptr;
    };
    return {numbers(operands.scale), numbers(operands.bias), numbers(operands.addend),
            operands.scale ? columnStepOf(*operands.scale) : 0, call.as<P>().activation};
  }
  double shifted(double sum, int64_t column) const {
    if (scale) sum *= double(scale[column * scaleStep]);
    return bias ? sum + double(bias[column]) : sum;
  }
  /// The result at `at` of all.
  double finished(double sum, int64_t column, int64_t at) const {
    const double result = activatePlainly(shifted(sum, column), activation);
    return addend ? result + double(addend[at]) : result;
  }
};

}  // namespace figment
