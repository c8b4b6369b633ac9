// What the multi-tensor updates share: scalars first, then groups of `count` tensors each —
// parameters, gradients, states — and as results the new parameters and states.
#pragma once

#include "../norm/dense_check.h"

namespace figment {

/// Far above any model, so that operand counts computed from it cannot overflow.
constexpr int32_t kMaxTensors = 1 << 20;

inline bool countInRange(int32_t count) { return count >= 0 && count <= kMaxTensors; }

/// Elements of an operand whose extents have not been checked; −1 when out of range, which no
/// operand equals.
inline int64_t flatSize(const Operand& operand) {
  int64_t product = 1;
  for (int i = 0; i < operand.rank && i < kMaxRank; i++)
    if (operand.dims[i] < 0 || __builtin_mul_overflow(product, operand.dims[i], &product))
      return -1;
  return product;
}

/// Checks the scalars and groups of an update whose operand counts are right.
inline void checkGroups(DenseCheck& check, const OpCall& call, int64_t scalars, int64_t count,
                        int64_t states, Format format) {
  for (int64_t s = 0; s < scalars; s++) check.input(s, "a scalar", format, {});
  for (int64_t i = 0; i < count && check.ok(); i++) {
    const int64_t size = flatSize(call.in[scalars + i]);
    check.input(scalars + i, "a parameter", format, {size})
        .input(scalars + count + i, "a gradient", format, {size})
        .output(i, "a new parameter", format, {size});
    for (int64_t s = 1; s <= states; s++)
      check.input(scalars + (s + 1) * count + i, "a state", format, {size})
          .output(s * count + i, "a new state", format, {size});
  }
}

/// Whether out is the new value of in; gradients have none.
inline bool updatesInPlace(int32_t scalars, int32_t count, int out, int in) {
  if (count < 1) return false;
  const int tensor = out % count, group = out / count;
  return in == scalars + (group == 0 ? 0 : group + 1) * count + tensor;
}

inline double outputElements(const OpCall& call) {
  double elements = 0;
  for (int i = 0; i < call.outCount; i++) elements += double(call.out[i].elements());
  return elements;
}

}  // namespace figment
