// The register code of an elementwise call as C++ sees it: an ElementwiseParams followed by
// `instructions` records of 16 bytes. op.cpp verifies it; the interpreters trust it afterwards.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../kernel.h"
#include "../params/elementwise.generated.h"

namespace figment::elementwise {

constexpr int kMaxRegisters = 64;
constexpr int kMaxInstructions = 1024;
constexpr int kMaxInputs = 24;
constexpr int kMaxOutputs = 8;

inline int instructionCount(const OpCall& call) {
  return call.as<ElementwiseParams>().instructions;
}

inline const Instruction* instructions(const OpCall& call) {
  return reinterpret_cast<const Instruction*>(static_cast<const std::byte*>(call.params) +
                                              sizeof(ElementwiseParams));
}

/// What a register holds after loading an element of this format, and before storing one.
constexpr RegisterType registerTypeOf(Format format) {
  switch (format) {
    case Format::f32:
    case Format::bf16:
    case Format::f16:
      return RegisterType::kF32;
    case Format::f64:
      return RegisterType::kF64;
    default:
      return RegisterType::kI32;
  }
}

/// Number of registers an instruction reads: its fields a, b, c in this order.
constexpr int sourceCount(Opcode op) {
  switch (op) {
    case Opcode::kLoad:
    case Opcode::kConstant:
      return 0;
    case Opcode::kStore:
    case Opcode::kCast:
    case Opcode::kNeg:
    case Opcode::kAbs:
    case Opcode::kSign:
    case Opcode::kExp:
    case Opcode::kExpm1:
    case Opcode::kLog:
    case Opcode::kLog1p:
    case Opcode::kSqrt:
    case Opcode::kRsqrt:
    case Opcode::kSquare:
    case Opcode::kTanh:
    case Opcode::kSigmoid:
    case Opcode::kSoftplus:
    case Opcode::kErf:
    case Opcode::kSin:
    case Opcode::kCos:
    case Opcode::kFloor:
    case Opcode::kCeil:
    case Opcode::kRound:
      return 1;
    case Opcode::kSelect:
      return 3;
    default:
      return 2;
  }
}

constexpr bool isComparison(Opcode op) { return op >= Opcode::kEq && op <= Opcode::kGe; }

/// Functions that exist for floating-point registers only.
constexpr bool isFloatOnly(Opcode op) {
  switch (op) {
    case Opcode::kStore:
    case Opcode::kCast:
    case Opcode::kNeg:
    case Opcode::kAbs:
    case Opcode::kSign:
    case Opcode::kSquare:
      return false;
    default:
      return sourceCount(op) == 1 || op == Opcode::kPow;
  }
}

/// Functions that cost a polynomial.
constexpr bool isTranscendental(Opcode op) {
  return isFloatOnly(op) && op != Opcode::kFloor && op != Opcode::kCeil && op != Opcode::kRound;
}

}  // namespace figment::elementwise
