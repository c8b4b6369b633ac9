// What the register code's instructions do to a group of elements.
#pragma once

#include "../../device/math.h"
#include "group.h"

namespace figment::cuda::elementwise {

template <class T, bool wide, class F>
FIGMENT_DEVICE void each(const Group<wide>& a, const Group<wide>& b, Group<wide>& result, F f) {
  FIGMENT_UNROLL
  for (int i = 0; i < Group<wide>::kElements; i++)
    result.set(i, f(a.template get<T>(i), b.template get<T>(i)));
}

template <class T, bool wide>
FIGMENT_DEVICE bool compare(Opcode op, const Group<wide>& a, const Group<wide>& b, Group<wide>& y) {
  switch (op) {
    case Opcode::kEq:
      return each<T>(a, b, y, [](T a, T b) { return int32_t(a == b); }), true;
    case Opcode::kNe:
      return each<T>(a, b, y, [](T a, T b) { return int32_t(a != b); }), true;
    case Opcode::kLt:
      return each<T>(a, b, y, [](T a, T b) { return int32_t(a < b); }), true;
    case Opcode::kLe:
      return each<T>(a, b, y, [](T a, T b) { return int32_t(a <= b); }), true;
    case Opcode::kGt:
      return each<T>(a, b, y, [](T a, T b) { return int32_t(a > b); }), true;
    case Opcode::kGe:
      return each<T>(a, b, y, [](T a, T b) { return int32_t(a >= b); }), true;
    default:
      return false;
  }
}

/// Wraps like the hardware; division by zero gives 0.
template <bool wide>
FIGMENT_DEVICE void integer(Opcode op, const Group<wide>& a, const Group<wide>& b, Group<wide>& y) {
  using I = int32_t;
  if (compare<I>(op, a, b, y)) return;
  switch (op) {
    case Opcode::kAdd:
      return each<I>(a, b, y, [](I a, I b) { return I(uint32_t(a) + uint32_t(b)); });
    case Opcode::kSub:
      return each<I>(a, b, y, [](I a, I b) { return I(uint32_t(a) - uint32_t(b)); });
    case Opcode::kMul:
      return each<I>(a, b, y, [](I a, I b) { return I(uint32_t(a) * uint32_t(b)); });
    case Opcode::kDiv:
      return each<I>(a, b, y, [](I a, I b) {
        return b == 0 ? 0 : b == -1 ? I(0u - uint32_t(a)) : a / b;
      });
    case Opcode::kRem:
      return each<I>(a, b, y, [](I a, I b) { return b == 0 || b == -1 ? 0 : a % b; });
    case Opcode::kMaximum:
      return each<I>(a, b, y, [](I a, I b) { return a > b ? a : b; });
    case Opcode::kMinimum:
      return each<I>(a, b, y, [](I a, I b) { return a < b ? a : b; });
    case Opcode::kNeg:
      return each<I>(a, b, y, [](I a, I) { return I(0u - uint32_t(a)); });
    case Opcode::kAbs:
      return each<I>(a, b, y, [](I a, I) { return a < 0 ? I(0u - uint32_t(a)) : a; });
    case Opcode::kSign:
      return each<I>(a, b, y, [](I a, I) { return I(a > 0) - I(a < 0); });
    default:
      return each<I>(a, b, y, [](I a, I) { return I(uint32_t(a) * uint32_t(a)); });  // kSquare
  }
}

template <class T, bool wide>
FIGMENT_DEVICE void floating(Opcode op, const Group<wide>& a, const Group<wide>& b,
                             Group<wide>& y) {
  if (compare<T>(op, a, b, y)) return;
  switch (op) {
    case Opcode::kAdd:
      return each<T>(a, b, y, [](T a, T b) { return a + b; });
    case Opcode::kSub:
      return each<T>(a, b, y, [](T a, T b) { return a - b; });
    case Opcode::kMul:
      return each<T>(a, b, y, [](T a, T b) { return a * b; });
    case Opcode::kDiv:
      return each<T>(a, b, y, [](T a, T b) { return divide(a, b); });
    case Opcode::kMaximum:
      return each<T>(a, b, y, [](T a, T b) { return maximumOf(a, b); });
    case Opcode::kMinimum:
      return each<T>(a, b, y, [](T a, T b) { return minimumOf(a, b); });
    case Opcode::kPow:
      return each<T>(a, b, y, [](T a, T b) { return powOf(a, b); });
    case Opcode::kRem:
      return each<T>(a, b, y, [](T a, T b) { return remOf(a, b); });
    case Opcode::kNeg:
      return each<T>(a, b, y, [](T a, T) { return -a; });
    case Opcode::kAbs:
      return each<T>(a, b, y, [](T a, T) { return T(fabs(a)); });
    case Opcode::kSign:
      return each<T>(a, b, y, [](T a, T) { return signOf(a); });
    case Opcode::kExp:
      return each<T>(a, b, y, [](T a, T) { return expOf(a); });
    case Opcode::kExpm1:
      return each<T>(a, b, y, [](T a, T) { return expm1Of(a); });
    case Opcode::kLog:
      return each<T>(a, b, y, [](T a, T) { return logOf(a); });
    case Opcode::kLog1p:
      return each<T>(a, b, y, [](T a, T) { return log1pOf(a); });
    case Opcode::kSqrt:
      return each<T>(a, b, y, [](T a, T) { return sqrtOf(a); });
    case Opcode::kRsqrt:
      return each<T>(a, b, y, [](T a, T) { return rsqrtOf(a); });
    case Opcode::kSquare:
      return each<T>(a, b, y, [](T a, T) { return a * a; });
    case Opcode::kTanh:
      return each<T>(a, b, y, [](T a, T) { return tanhOf(a); });
    case Opcode::kSigmoid:
      return each<T>(a, b, y, [](T a, T) { return sigmoidOf(a); });
    case Opcode::kSoftplus:
      return each<T>(a, b, y, [](T a, T) { return softplusOf(a); });
    case Opcode::kErf:
      return each<T>(a, b, y, [](T a, T) { return erfOf(a); });
    case Opcode::kSin:
      return each<T>(a, b, y, [](T a, T) { return sinOf(a); });
    case Opcode::kCos:
      return each<T>(a, b, y, [](T a, T) { return cosOf(a); });
    case Opcode::kFloor:
      return each<T>(a, b, y, [](T a, T) { return T(::floor(a)); });
    case Opcode::kCeil:
      return each<T>(a, b, y, [](T a, T) { return T(::ceil(a)); });
    default:
      return each<T>(a, b, y, [](T a, T) { return T(::rint(a)); });  // kRound: ties to even
  }
}

template <bool wide>
FIGMENT_DEVICE void cast(RegisterType from, RegisterType type, const Group<wide>& a,
                         Group<wide>& y) {
  const bool fromF32 = from == RegisterType::kF32;
  if (type == RegisterType::kI32) {
    if (fromF32) return each<float>(a, a, y, [](float x, float) { return toInteger(x); });
    if constexpr (wide) each<double>(a, a, y, [](double x, double) { return toInteger(x); });
  } else if (type == RegisterType::kF32) {
    if (from == RegisterType::kI32)
      return each<int32_t>(a, a, y, [](int32_t x, int32_t) { return float(x); });
    if constexpr (wide) each<double>(a, a, y, [](double x, double) { return float(x); });
  } else if constexpr (wide) {
    if (fromF32) return each<float>(a, a, y, [](float x, float) { return double(x); });
    each<int32_t>(a, a, y, [](int32_t x, int32_t) { return double(x); });
  }
}

template <bool wide>
FIGMENT_DEVICE void choose(const Group<wide>& condition, const Group<wide>& a, const Group<wide>& b,
                           Group<wide>& y) {
  FIGMENT_UNROLL
  for (int i = 0; i < kRegisterWords; i++)
    y.words[i] = condition.words[wide ? i / 2 * 2 : i] != 0 ? a.words[i] : b.words[i];
}

}  // namespace figment::cuda::elementwise
