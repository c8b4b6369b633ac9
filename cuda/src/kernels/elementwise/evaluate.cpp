#include "evaluate.h"

#include "../../device/sequences.h"
#include "kernels/simd/half.h"

namespace figment::cuda::elementwise {
namespace {

using figment::elementwise::isComparison;

template <class T>
Predicate compare(Opcode op, const T& a, const T& b) {
  switch (op) {
    case Opcode::kEq:
      return eq(a, b);
    case Opcode::kNe:
      return ne(a, b);
    case Opcode::kLt:
      return lt(a, b);
    case Opcode::kLe:
      return le(a, b);
    case Opcode::kGt:
      return gt(a, b);
    default:
      return ge(a, b);
  }
}

F32 floating(Opcode op, const F32& a, const F32& b) {
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
      return sequences::maximum(a, b);
    case Opcode::kMinimum:
      return sequences::minimum(a, b);
    case Opcode::kPow:
      return sequences::pow(a, b);
    case Opcode::kRem:
      return sequences::rem(a, b);
    case Opcode::kNeg:
      return -a;
    case Opcode::kAbs:
      return abs(a);
    case Opcode::kSign:
      return sequences::sign(a);
    case Opcode::kExp:
      return sequences::exp(a);
    case Opcode::kExpm1:
      return sequences::expm1(a);
    case Opcode::kLog:
      return sequences::log(a);
    case Opcode::kLog1p:
      return sequences::log1p(a);
    case Opcode::kSqrt:
      return sqrt(a);
    case Opcode::kRsqrt:
      return rsqrt(a);
    case Opcode::kSquare:
      return a * a;
    case Opcode::kTanh:
      return sequences::tanh(a);
    case Opcode::kSigmoid:
      return sequences::sigmoid(a);
    case Opcode::kSoftplus:
      return sequences::softplus(a);
    case Opcode::kErf:
      return sequences::erf(a);
    case Opcode::kSin:
      return sequences::sin(a);
    case Opcode::kCos:
      return sequences::cos(a);
    case Opcode::kFloor:
      return floor(a);
    case Opcode::kCeil:
      return ceil(a);
    default:
      return nearest(a);  // kRound: ties to even
  }
}

/// Where the divisor is 0 or -1 the quotient is not asked of the processor.
I32 divided(const I32& a, const I32& b, Form form, const I32& byMinusOne) {
  const Predicate zero = eq(b, I32(0)), minusOne = eq(b, I32(-1));
  const I32 safe = blend(zero | minusOne, I32(1), b);
  const I32 quotient(Text::current().compute(Kind::whole, form, {a.text, safe.text}));
  return blend(zero, I32(0), blend(minusOne, byMinusOne, quotient));
}

I32 integer(Opcode op, const I32& a, const I32& b) {
  const I32 zero(0);
  switch (op) {
    case Opcode::kAdd:
      return a + b;
    case Opcode::kSub:
      return a - b;
    case Opcode::kMul:
      return a * b;
    case Opcode::kDiv:
      return divided(a, b, {"div.s32 $0, $1, $2;", "$1 / $2"}, zero - a);
    case Opcode::kRem:
      return divided(a, b, {"rem.s32 $0, $1, $2;", "$1 % $2"}, zero);
    case Opcode::kMaximum:
      return blend(gt(a, b), a, b);
    case Opcode::kMinimum:
      return blend(lt(a, b), a, b);
    case Opcode::kNeg:
      return zero - a;
    case Opcode::kAbs:
      return blend(lt(a, zero), zero - a, a);
    case Opcode::kSign:
      return blend(gt(a, zero), I32(1), sar(a, 31));
    default:
      return a * a;  // kSquare
  }
}

Held valueOf(const Value& value, const std::vector<Held>& held,
             const std::function<Held(int)>& input) {
  const auto source = [&](int i) -> const Held& { return held[size_t(value.sources[i])]; };
  const bool isNumber = value.type == RegisterType::kF32;
  switch (value.op) {
    case Opcode::kLoad:
      return input(value.sources[0]);
    case Opcode::kConstant:
      return isNumber ? Held{variable(F32(float(value.constant))), {}}
                      : Held{{}, variable(I32(int32_t(value.constant)))};
    case Opcode::kCast:
      return isNumber ? Held{toFloat(source(0).whole), {}} : Held{{}, toInteger(source(0).number)};
    case Opcode::kSelect: {
      const Predicate chosen = ne(source(0).whole, I32(0));
      return isNumber ? Held{blend(chosen, source(1).number, source(2).number), {}}
                      : Held{{}, blend(chosen, source(1).whole, source(2).whole)};
    }
    default:
      break;
  }
  const Held& a = source(0);
  const Held& b = figment::elementwise::sourceCount(value.op) > 1 ? source(1) : a;
  if (isComparison(value.op)) {
    const Predicate holds =
        isNumber ? compare(value.op, a.number, b.number) : compare(value.op, a.whole, b.whole);
    return {{}, blend(holds, I32(1), I32(0))};
  }
  return isNumber ? Held{floating(value.op, a.number, b.number), {}}
                  : Held{{}, integer(value.op, a.whole, b.whole)};
}

}  // namespace

std::vector<Held> evaluate(const Code& code, const std::function<Held(int)>& input) {
  std::vector<Held> held;
  for (const Value& value : code.values) held.push_back(valueOf(value, held, input));
  std::vector<Held> outputs;
  for (const int stored : code.stores) outputs.push_back(held[size_t(stored)]);
  return outputs;
}

int64_t costOf(const Code& code) {
  int64_t cost = int64_t(code.stores.size()) * 4;
  for (const Value& value : code.values) {
    switch (value.op) {
      case Opcode::kConstant:
        break;
      case Opcode::kPow:
        cost += 140;
        break;
      case Opcode::kSin:
      case Opcode::kCos:
        cost += 100;
        break;
      case Opcode::kRem:
        cost += 40;
        break;
      default:
        cost += figment::elementwise::isTranscendental(value.op) ? 25 : 2;
    }
  }
  return cost;
}

Held fromMemory(Format format, const I32& bits) {
  Text& text = Text::current();
  switch (format) {
    case Format::f32:
      return {asFloat(bits), {}};
    case Format::bf16:
      return {asFloat(shl(bits, 16)), {}};
    case Format::f16:
      return {F32(text.compute(Kind::number,
                               {"{ .reg .b16 h; cvt.u16.u32 h, $1; cvt.f32.f16 $0, h; }",
                                "widen(F16{uint16_t($1)})"},
                               {bits.text})),
              {}};
    default:
      return {{}, bits};
  }
}

I32 toMemory(Format format, const Held& value, bool hasBf16) {
  Text& text = Text::current();
  const F32& x = value.number;
  switch (format) {
    case Format::f32:
      return asInt(x);
    case Format::bf16: {
      I32 bits;
      if (hasBf16) {
        bits = I32(text.compute(Kind::whole,
                                {"{ .reg .b16 h; cvt.rn.bf16.f32 h, $1; cvt.u32.u16 $0, h; }",
                                 "int32_t(narrow<Bf16>($1).bits)"},
                                {x.text}));
      } else {
        const I32 exact = asInt(x);
        bits = shr(exact + I32(0x7fff) + (shr(exact, 16) & I32(1)), 16);
      }
      return blend(ne(x, x), I32(kNanBf16), bits);
    }
    case Format::f16: {
      const I32 bits(text.compute(Kind::whole,
                                  {"{ .reg .b16 h; cvt.rn.f16.f32 h, $1; cvt.u32.u16 $0, h; }",
                                   "int32_t(narrow<F16>($1).bits)"},
                                  {x.text}));
      return blend(ne(x, x), I32(kNanF16), bits);
    }
    case Format::boolean:
      return blend(ne(value.whole, I32(0)), I32(1), I32(0));
    default:
      return value.whole;
  }
}

}  // namespace figment::cuda::elementwise
