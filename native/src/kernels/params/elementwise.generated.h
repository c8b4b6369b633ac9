// Generated from packages/tensor/src/ops by its script generate; do not edit.
// clang-format off
#pragma once

#include <cstdint>

namespace figment {

/// Opcodes of the elementwise interpreter.
enum class Opcode : uint16_t {
  kLoad = 0,
  kStore = 1,
  kConstant = 2,
  kCast = 3,
  kSelect = 4,
  kAdd = 5,
  kSub = 6,
  kMul = 7,
  kDiv = 8,
  kMaximum = 9,
  kMinimum = 10,
  kPow = 11,
  kRem = 12,
  kNeg = 13,
  kAbs = 14,
  kSign = 15,
  kExp = 16,
  kExpm1 = 17,
  kLog = 18,
  kLog1p = 19,
  kSqrt = 20,
  kRsqrt = 21,
  kSquare = 22,
  kTanh = 23,
  kSigmoid = 24,
  kSoftplus = 25,
  kErf = 26,
  kSin = 27,
  kCos = 28,
  kFloor = 29,
  kCeil = 30,
  kRound = 31,
  kEq = 32,
  kNe = 33,
  kLt = 34,
  kLe = 35,
  kGt = 36,
  kGe = 37,
};
constexpr int kOpcodeCount = 38;

/// What a register of the elementwise interpreter holds.
enum class RegisterType : uint8_t {
  kF32 = 0,
  kF64 = 1,
  kI32 = 2,
};
constexpr int kRegisterTypeCount = 3;

struct Instruction {
  Opcode op;
  uint8_t dst;
  uint8_t a;
  uint8_t b;
  uint8_t c;
  RegisterType type;
  uint8_t zero;
  double imm;
};
static_assert(sizeof(Instruction) == 16);

struct ElementwiseParams {
  static constexpr uint64_t kHash = 0xe1923d8b2547997bull;
  int32_t instructions;
  int32_t registers;
};
static_assert(sizeof(ElementwiseParams) == 8);

}  // namespace figment
