// The plain elementwise interpreter: one element at a time, one instruction after the other. It is
// the specification of every opcode and the only one that computes in f64.
#include "../reference.h"

#include <cmath>
#include <cstdint>
#include <cstring>

#include "../params/elementwise.generated.h"
#include "../simd/half.h"
#include "program.h"

namespace figment::elementwise {
namespace {

union Register {
  float f32;
  double f64;
  int32_t i32;
};

template <class T>
T& as(Register& reg) {
  if constexpr (sizeof(T) == 8)
    return reg.f64;
  else if constexpr (T(0.5) != T(0))
    return reg.f32;
  else
    return reg.i32;
}

template <class T>
T at(const void* data, int64_t index) {
  T value;
  std::memcpy(&value, static_cast<const T*>(data) + index, sizeof value);
  return value;
}

Register load(const Operand& operand, int64_t index) {
  Register r;
  switch (operand.format) {
    case Format::f32:
      r.f32 = at<float>(operand.data, index);
      break;
    case Format::f64:
      r.f64 = at<double>(operand.data, index);
      break;
    case Format::bf16:
      r.f32 = fromBits(uint32_t(at<uint16_t>(operand.data, index)) << 16);
      break;
    case Format::f16:
      r.f32 = fromBits(widenF16(at<uint16_t>(operand.data, index)));
      break;
    case Format::i32:
      r.i32 = at<int32_t>(operand.data, index);
      break;
    case Format::i64:
      r.i32 = int32_t(at<int64_t>(operand.data, index));
      break;
    case Format::i8:
      r.i32 = at<int8_t>(operand.data, index);
      break;
    default:
      r.i32 = at<uint8_t>(operand.data, index);
  }
  return r;
}

template <class T>
void put(void* data, int64_t index, T value) {
  static_cast<T*>(data)[index] = value;
}

void store(const Operand& operand, int64_t index, Register r) {
  switch (operand.format) {
    case Format::f32:
      return put(operand.data, index, r.f32);
    case Format::f64:
      return put(operand.data, index, r.f64);
    case Format::bf16:
      return put(operand.data, index, narrowBf16(toBits(r.f32)));
    case Format::f16:
      return put(operand.data, index, narrowF16(toBits(r.f32)));
    case Format::i32:
      return put(operand.data, index, r.i32);
    case Format::i64:
      return put(operand.data, index, int64_t(r.i32));
    case Format::boolean:
      return put(operand.data, index, uint8_t(r.i32 != 0));
    default:
      return put(operand.data, index, uint8_t(r.i32));
  }
}

/// Toward zero; saturates; NaN becomes 0.
int32_t toInteger(double x) {
  if (!(x == x)) return 0;
  if (x >= 2147483647.0) return INT32_MAX;
  if (x <= -2147483648.0) return INT32_MIN;
  return int32_t(x);
}

void cast(const Instruction& code, Register* registers) {
  const Register source = registers[code.a];
  Register& target = registers[code.dst];
  const RegisterType from = RegisterType(code.b);
  if (from == code.type) {
    target = source;
  } else if (code.type == RegisterType::kI32) {
    target.i32 = toInteger(from == RegisterType::kF32 ? double(source.f32) : source.f64);
  } else if (code.type == RegisterType::kF32) {
    target.f32 = from == RegisterType::kI32 ? float(source.i32) : float(source.f64);
  } else {
    target.f64 = from == RegisterType::kI32 ? double(source.i32) : double(source.f32);
  }
}

/// Wraps like the hardware; division by zero gives 0.
int32_t integer(Opcode op, int32_t a, int32_t b) {
  const uint32_t x = uint32_t(a), y = uint32_t(b);
  switch (op) {
    case Opcode::kAdd:
      return int32_t(x + y);
    case Opcode::kSub:
      return int32_t(x - y);
    case Opcode::kMul:
      return int32_t(x * y);
    case Opcode::kDiv:
      return b == 0 ? 0 : b == -1 ? int32_t(0u - x) : a / b;
    case Opcode::kMaximum:
      return a > b ? a : b;
    case Opcode::kMinimum:
      return a < b ? a : b;
    case Opcode::kRem:
      return b == 0 || b == -1 ? 0 : a % b;
    case Opcode::kNeg:
      return int32_t(0u - x);
    case Opcode::kAbs:
      return int32_t(a < 0 ? 0u - x : x);
    case Opcode::kSign:
      return (a > 0) - (a < 0);
    default:
      return int32_t(x * x);  // kSquare: the verifier lets no other function of integers pass
  }
}

template <class T>
T floating(Opcode op, T a, T b) {
  switch (op) {
    case Opcode::kAdd:
      return a + b;
    case Opcode::kSub:
      return a - b;
    case Opcode::kMul:
      return a * b;
    case Opcode::kDiv:
      return a / b;
    case Opcode::kMaximum:
      return a != a ? a : a > b ? a : b;
    case Opcode::kMinimum:
      return a != a ? a : a < b ? a : b;
    case Opcode::kPow:
      return std::pow(a, b);
    case Opcode::kRem:
      return std::fmod(a, b);
    case Opcode::kNeg:
      return -a;
    case Opcode::kAbs:
      return std::fabs(a);
    case Opcode::kSign:
      return a == 0 || a != a ? a : std::copysign(T(1), a);
    case Opcode::kExp:
      return std::exp(a);
    case Opcode::kExpm1:
      return std::expm1(a);
    case Opcode::kLog:
      return std::log(a);
    case Opcode::kLog1p:
      return std::log1p(a);
    case Opcode::kSqrt:
      return std::sqrt(a);
    case Opcode::kRsqrt:
      return T(1) / std::sqrt(a);
    case Opcode::kSquare:
      return a * a;
    case Opcode::kTanh:
      return std::tanh(a);
    case Opcode::kSigmoid: {
      const T e = std::exp(-std::fabs(a));
      return (a < 0 ? e : T(1)) / (T(1) + e);
    }
    case Opcode::kSoftplus:
      return (a < 0 ? T(0) : a) + std::log1p(std::exp(-std::fabs(a)));
    case Opcode::kErf:
      return std::erf(a);
    case Opcode::kSin:
      return std::sin(a);
    case Opcode::kFloor:
      return std::floor(a);
    case Opcode::kCeil:
      return std::ceil(a);
    case Opcode::kRound:
      return std::nearbyint(a);  // the processor's mode: ties to even
    default:
      return std::cos(a);
  }
}

template <class T>
int32_t compare(Opcode op, T a, T b) {
  switch (op) {
    case Opcode::kEq:
      return a == b;
    case Opcode::kNe:
      return a != b;
    case Opcode::kLt:
      return a < b;
    case Opcode::kLe:
      return a <= b;
    case Opcode::kGt:
      return a > b;
    default:
      return a >= b;
  }
}

template <class T>
void compute(const Instruction& code, Register* registers) {
  const T a = as<T>(registers[code.a]);
  const T b = sourceCount(code.op) > 1 ? as<T>(registers[code.b]) : a;
  if (isComparison(code.op)) {
    registers[code.dst].i32 = compare(code.op, a, b);
  } else if constexpr (T(0.5) != T(0)) {
    as<T>(registers[code.dst]) = floating(code.op, a, b);
  } else {
    registers[code.dst].i32 = integer(code.op, a, b);
  }
}

void constant(const Instruction& code, Register& target) {
  if (code.type == RegisterType::kF32)
    target.f32 = float(code.imm);
  else if (code.type == RegisterType::kF64)
    target.f64 = code.imm;
  else
    target.i32 = int32_t(code.imm);
}

/// `at` holds the element index within every operand, inputs first. Stores wait until the end, so
/// that an output may lie on an input.
void interpret(const OpCall& call, const int64_t* at) {
  Register registers[kMaxRegisters];
  Register results[kMaxOutputs];
  const Instruction* code = instructions(call);
  const int count = instructionCount(call);
  for (int i = 0; i < count; i++) {
    const Instruction& step = code[i];
    switch (step.op) {
      case Opcode::kLoad:
        registers[step.dst] = load(call.in[step.a], at[step.a]);
        break;
      case Opcode::kStore:
        results[step.b] = registers[step.a];
        break;
      case Opcode::kConstant:
        constant(step, registers[step.dst]);
        break;
      case Opcode::kCast:
        cast(step, registers);
        break;
      case Opcode::kSelect:
        registers[step.dst] = registers[registers[step.a].i32 != 0 ? step.b : step.c];
        break;
      default:
        if (step.type == RegisterType::kF32)
          compute<float>(step, registers);
        else if (step.type == RegisterType::kF64)
          compute<double>(step, registers);
        else
          compute<int32_t>(step, registers);
    }
  }
  for (int o = 0; o < call.outCount; o++) store(call.out[o], at[call.inCount + o], results[o]);
}

void run(const OpCall& call, Context& context) {
  const Operand& space = call.out[0];
  const int operands = call.inCount + call.outCount;
  constexpr int64_t kGrain = 4096;
  context.parallelFor(space.elements(), kGrain, [&](int64_t begin, int64_t end, int) {
    for (int64_t element = begin; element < end; element++) {
      int64_t at[kMaxInputs + kMaxOutputs] = {};
      int64_t rest = element;
      for (int d = space.rank - 1; d >= 0; d--) {
        const int64_t index = rest % space.dims[d];
        rest /= space.dims[d];
        for (int i = 0; i < operands; i++)
          at[i] += index * (i < call.inCount ? call.in[i] : call.out[i - call.inCount]).strides[d];
      }
      interpret(call, at);
    }
  });
}

const RegisterVariant registerVariant{referenceVariant("elementwise", run)};

}  // namespace
}  // namespace figment::elementwise
