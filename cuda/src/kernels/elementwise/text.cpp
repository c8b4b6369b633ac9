#include "text.h"

#include <bit>
#include <cstdio>

namespace figment::cuda::elementwise {
namespace {

thread_local Text* currentText = nullptr;

constexpr const char* kPtxPrefixes[kKinds] = {"%f", "%r", "%p", "%l"};
constexpr const char* kPtxTypes[kKinds] = {".f32", ".b32", ".pred", ".b64"};
constexpr const char* kCppPrefixes[kKinds] = {"f", "r", "p", "l"};
constexpr const char* kCppTypes[kKinds] = {"float ", "int32_t ", "bool ", "uint64_t "};
constexpr const char* kMoves[kKinds] = {"mov.f32 ", "mov.b32 ", "mov.pred ", "mov.b64 "};

std::string substitute(const char* form, const std::string& result,
                       std::initializer_list<std::string> operands) {
  std::string text;
  for (const char* c = form; *c; c++) {
    if (*c != '$') {
      text += *c;
      continue;
    }
    const int which = *++c - '0';
    text += which == 0 ? result : *(operands.begin() + which - 1);
  }
  return text;
}

std::string hexadecimal(const char* format, uint32_t bits) {
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, format, bits);
  return buffer;
}

bool isLiteral(const std::string& text) {
  return text[0] == '-' || (text[0] >= '0' && text[0] <= '9') || text.rfind("bitsToFloat", 0) == 0;
}

}  // namespace

Text::Text(Dialect dialect) : dialect_(dialect), outer_(currentText) { currentText = this; }
Text::~Text() { currentText = outer_; }
Text& Text::current() { return *currentText; }

void Text::line(const std::string& text) {
  body_.append(size_t(2 + 2 * depth_), ' ').append(text) += '\n';
  lines_++;
}

std::string Text::fresh(Kind kind) {
  const auto* prefixes = isPtx() ? kPtxPrefixes : kCppPrefixes;
  return prefixes[int(kind)] + std::to_string(registers_[int(kind)]++);
}

std::string Text::compute(Kind kind, Form form, std::initializer_list<std::string> operands) {
  std::string result = fresh(kind);
  if (isPtx())
    line(substitute(form.ptx, result, operands));
  else
    line(kCppTypes[int(kind)] + result + " = " + substitute(form.cpp, result, operands) + ";");
  return result;
}

void Text::perform(Form form, std::initializer_list<std::string> operands) {
  line(substitute(isPtx() ? form.ptx : form.cpp, "", operands));
}

std::string Text::variable(Kind kind, const std::string& value) {
  const std::string result = fresh(kind);
  if (isPtx())
    assign(kind, result, value);
  else
    line(kCppTypes[int(kind)] + result + " = " + value + ";");
  return result;
}

void Text::assign(Kind kind, const std::string& variable, const std::string& value) {
  line(isPtx() ? kMoves[int(kind)] + variable + ", " + value + ";"
               : variable + " = " + value + ";");
}

void Text::beginWhen(const std::string& truth) {
  open_[depth_] = labels_++;
  line(isPtx() ? "@!" + truth + " bra END" + std::to_string(open_[depth_]) + ";"
               : "if (" + truth + ") {");
  depth_++;
}
void Text::endWhen() {
  depth_--;
  line(isPtx() ? "END" + std::to_string(open_[depth_]) + ":" : "}");
}
void Text::beginLoop() {
  open_[depth_] = labels_++;
  line(isPtx() ? "LOOP" + std::to_string(open_[depth_]) + ":" : "for (;;) {");
  depth_++;
}
void Text::keepLooping(const std::string& truth) {
  line(isPtx() ? "@!" + truth + " bra END" + std::to_string(open_[depth_ - 1]) + ";"
               : "if (!" + truth + ") break;");
}
void Text::endLoop() {
  depth_--;
  const std::string number = std::to_string(open_[depth_]);
  if (isPtx()) line("bra LOOP" + number + ";");
  line(isPtx() ? "END" + number + ":" : "}");
}

std::string Text::declarations() const {
  std::string text;
  for (int kind = 0; kind < kKinds; kind++)
    if (registers_[kind] > 0)
      text += std::string("  .reg ") + kPtxTypes[kind] + " " + kPtxPrefixes[kind] + "<" +
              std::to_string(registers_[kind]) + ">;\n";
  return text;
}

I32::I32(int32_t literal)
    : text(literal == INT32_MIN && !Text::current().isPtx() ? "INT32_MIN"
                                                            : std::to_string(literal)) {}
U64::U64(uint64_t literal) : text(std::to_string(literal)) {
  if (!Text::current().isPtx()) text += "ull";
}
F32::F32(float literal)
    : text(hexadecimal(Text::current().isPtx() ? "0f%08X" : "bitsToFloat(0x%08Xu)",
                       std::bit_cast<uint32_t>(literal))) {}

namespace {

F32 number(Form form, std::initializer_list<std::string> operands) {
  return F32(Text::current().compute(Kind::number, form, operands));
}
I32 whole(Form form, std::initializer_list<std::string> operands) {
  return I32(Text::current().compute(Kind::whole, form, operands));
}
U64 longWhole(Form form, std::initializer_list<std::string> operands) {
  return U64(Text::current().compute(Kind::longWhole, form, operands));
}
Predicate truth(Form form, std::initializer_list<std::string> operands) {
  return {Text::current().compute(Kind::truth, form, operands)};
}

}  // namespace

Predicate operator&(const Predicate& a, const Predicate& b) {
  return truth({"and.pred $0, $1, $2;", "$1 && $2"}, {a.text, b.text});
}
Predicate operator|(const Predicate& a, const Predicate& b) {
  return truth({"or.pred $0, $1, $2;", "$1 || $2"}, {a.text, b.text});
}
Predicate operator~(const Predicate& a) { return truth({"not.pred $0, $1;", "!$1"}, {a.text}); }

I32 operator+(const I32& a, const I32& b) {
  return whole({"add.s32 $0, $1, $2;", "int32_t(uint32_t($1) + uint32_t($2))"}, {a.text, b.text});
}
I32 operator-(const I32& a, const I32& b) {
  return whole({"sub.s32 $0, $1, $2;", "int32_t(uint32_t($1) - uint32_t($2))"}, {a.text, b.text});
}
I32 operator*(const I32& a, const I32& b) {
  return whole({"mul.lo.s32 $0, $1, $2;", "int32_t(uint32_t($1) * uint32_t($2))"},
               {a.text, b.text});
}
I32 operator&(const I32& a, const I32& b) {
  return whole({"and.b32 $0, $1, $2;", "$1 & $2"}, {a.text, b.text});
}
I32 operator^(const I32& a, const I32& b) {
  return whole({"xor.b32 $0, $1, $2;", "$1 ^ $2"}, {a.text, b.text});
}
I32 shl(const I32& a, int by) {
  return whole({"shl.b32 $0, $1, $2;", "int32_t(uint32_t($1) << $2)"},
               {a.text, std::to_string(by)});
}
I32 sar(const I32& a, int by) {
  return whole({"shr.s32 $0, $1, $2;", "$1 >> $2"}, {a.text, std::to_string(by)});
}
I32 shr(const I32& a, int by) {
  return whole({"shr.u32 $0, $1, $2;", "int32_t(uint32_t($1) >> $2)"},
               {a.text, std::to_string(by)});
}
Predicate eq(const I32& a, const I32& b) {
  return truth({"setp.eq.s32 $0, $1, $2;", "$1 == $2"}, {a.text, b.text});
}
Predicate ne(const I32& a, const I32& b) {
  return truth({"setp.ne.s32 $0, $1, $2;", "$1 != $2"}, {a.text, b.text});
}
Predicate lt(const I32& a, const I32& b) {
  return truth({"setp.lt.s32 $0, $1, $2;", "$1 < $2"}, {a.text, b.text});
}
Predicate le(const I32& a, const I32& b) {
  return truth({"setp.le.s32 $0, $1, $2;", "$1 <= $2"}, {a.text, b.text});
}
Predicate gt(const I32& a, const I32& b) {
  return truth({"setp.gt.s32 $0, $1, $2;", "$1 > $2"}, {a.text, b.text});
}
Predicate ge(const I32& a, const I32& b) {
  return truth({"setp.ge.s32 $0, $1, $2;", "$1 >= $2"}, {a.text, b.text});
}
Predicate below(const I32& a, const I32& b) {
  return truth({"setp.lt.u32 $0, $1, $2;", "uint32_t($1) < uint32_t($2)"}, {a.text, b.text});
}
I32 blend(const Predicate& mask, const I32& a, const I32& b) {
  return whole({"selp.b32 $0, $2, $3, $1;", "$1 ? $2 : $3"}, {mask.text, a.text, b.text});
}
I32 variable(const I32& x) { return I32(Text::current().variable(Kind::whole, x.text)); }
void assign(const I32& variable, const I32& x) {
  Text::current().assign(Kind::whole, variable.text, x.text);
}

U64 operator+(const U64& a, const U64& b) {
  return longWhole({"add.s64 $0, $1, $2;", "$1 + $2"}, {a.text, b.text});
}
U64 operator-(const U64& a, const U64& b) {
  return longWhole({"sub.s64 $0, $1, $2;", "$1 - $2"}, {a.text, b.text});
}
U64 operator*(const U64& a, const U64& b) {
  return longWhole({"mul.lo.s64 $0, $1, $2;", "$1 * $2"}, {a.text, b.text});
}
U64 multiply(const I32& a, const I32& b) {
  return longWhole({"mul.wide.u32 $0, $1, $2;", "uint64_t(uint32_t($1)) * uint32_t($2)"},
                   {a.text, b.text});
}
U64 shl(const U64& a, const I32& by) {
  return longWhole({"shl.b64 $0, $1, $2;", "$2 > 63 ? 0 : $1 << $2"}, {a.text, by.text});
}
U64 shr(const U64& a, const I32& by) {
  return longWhole({"shr.u64 $0, $1, $2;", "$2 > 63 ? 0 : $1 >> $2"}, {a.text, by.text});
}
U64 upperHalf(const U64& a) { return longWhole({"shr.u64 $0, $1, 32;", "$1 >> 32"}, {a.text}); }
U64 lowerHalf(const U64& a) {
  return longWhole({"and.b64 $0, $1, 4294967295;", "$1 & 4294967295ull"}, {a.text});
}
I32 toInt(const U64& a) {
  return whole({"cvt.u32.u64 $0, $1;", "int32_t(uint32_t($1))"}, {a.text});
}
U64 widen(const I32& a) {
  return longWhole({"cvt.u64.u32 $0, $1;", "uint64_t(uint32_t($1))"}, {a.text});
}
U64 blend(const Predicate& mask, const U64& a, const U64& b) {
  return longWhole({"selp.b64 $0, $2, $3, $1;", "$1 ? $2 : $3"}, {mask.text, a.text, b.text});
}
Predicate gtSigned(const U64& a, const U64& b) {
  return truth({"setp.gt.s64 $0, $1, $2;", "int64_t($1) > int64_t($2)"}, {a.text, b.text});
}
I32 funnelLeft(const I32& high, const I32& low, const I32& by) {
  return whole({"shf.l.wrap.b32 $0, $2, $1, $3;",
                "int32_t(uint32_t((uint64_t(uint32_t($1)) << 32 | uint32_t($2)) << $3 >> 32))"},
               {high.text, low.text, by.text});
}

F32 operator+(const F32& a, const F32& b) {
  return number({"add.rn.f32 $0, $1, $2;", "__fadd_rn($1, $2)"}, {a.text, b.text});
}
F32 operator-(const F32& a, const F32& b) {
  return number({"sub.rn.f32 $0, $1, $2;", "__fsub_rn($1, $2)"}, {a.text, b.text});
}
F32 operator*(const F32& a, const F32& b) {
  return number({"mul.rn.f32 $0, $1, $2;", "__fmul_rn($1, $2)"}, {a.text, b.text});
}
F32 operator/(const F32& a, const F32& b) {
  return number({"div.rn.f32 $0, $1, $2;", "__fdiv_rn($1, $2)"}, {a.text, b.text});
}
F32 operator-(const F32& a) { return number({"neg.f32 $0, $1;", "-$1"}, {a.text}); }
F32 fma(const F32& a, const F32& b, const F32& c) {
  return number({"fma.rn.f32 $0, $1, $2, $3;", "__fmaf_rn($1, $2, $3)"}, {a.text, b.text, c.text});
}
F32 ratio(const F32& a, const F32& b) {
  return a * number({"rcp.approx.ftz.f32 $0, $1;", "reciprocalFast($1)"}, {b.text});
}
F32 exp2Approx(const F32& x) {
  return number({"ex2.approx.ftz.f32 $0, $1;", "exp2Fast($1)"}, {x.text});
}
F32 sqrt(const F32& x) { return number({"sqrt.rn.f32 $0, $1;", "__fsqrt_rn($1)"}, {x.text}); }
F32 rsqrt(const F32& x) { return number({"rsqrt.approx.f32 $0, $1;", "rsqrtf($1)"}, {x.text}); }
F32 min(const F32& a, const F32& b) {
  return number({"min.f32 $0, $1, $2;", "fminf($1, $2)"}, {a.text, b.text});
}
F32 max(const F32& a, const F32& b) {
  return number({"max.f32 $0, $1, $2;", "fmaxf($1, $2)"}, {a.text, b.text});
}
Predicate lt(const F32& a, const F32& b) {
  return truth({"setp.lt.f32 $0, $1, $2;", "$1 < $2"}, {a.text, b.text});
}
Predicate le(const F32& a, const F32& b) {
  return truth({"setp.le.f32 $0, $1, $2;", "$1 <= $2"}, {a.text, b.text});
}
Predicate gt(const F32& a, const F32& b) {
  return truth({"setp.gt.f32 $0, $1, $2;", "$1 > $2"}, {a.text, b.text});
}
Predicate ge(const F32& a, const F32& b) {
  return truth({"setp.ge.f32 $0, $1, $2;", "$1 >= $2"}, {a.text, b.text});
}
Predicate eq(const F32& a, const F32& b) {
  return truth({"setp.eq.f32 $0, $1, $2;", "$1 == $2"}, {a.text, b.text});
}
Predicate ne(const F32& a, const F32& b) {
  return truth({"setp.neu.f32 $0, $1, $2;", "$1 != $2"}, {a.text, b.text});
}
F32 blend(const Predicate& mask, const F32& a, const F32& b) {
  return number({"selp.f32 $0, $2, $3, $1;", "$1 ? $2 : $3"}, {mask.text, a.text, b.text});
}
F32 abs(const F32& x) { return number({"abs.f32 $0, $1;", "fabsf($1)"}, {x.text}); }
F32 copysign(const F32& x, const F32& sign) {
  return number({"copysign.f32 $0, $2, $1;", "copysignf($1, $2)"}, {x.text, sign.text});
}
F32 floor(const F32& x) { return number({"cvt.rmi.f32.f32 $0, $1;", "floorf($1)"}, {x.text}); }
F32 ceil(const F32& x) { return number({"cvt.rpi.f32.f32 $0, $1;", "ceilf($1)"}, {x.text}); }
F32 nearest(const F32& x) { return number({"cvt.rni.f32.f32 $0, $1;", "rintf($1)"}, {x.text}); }
I32 asInt(const F32& x) { return whole({"mov.b32 $0, $1;", "int32_t(floatToBits($1))"}, {x.text}); }
F32 asFloat(const I32& x) {
  // Of a literal no line is needed.
  if (isLiteral(x.text)) return F32(std::bit_cast<float>(int32_t(std::stoll(x.text))));
  return number({"mov.b32 $0, $1;", "bitsToFloat(uint32_t($1))"}, {x.text});
}
F32 toFloat(const I32& x) { return number({"cvt.rn.f32.s32 $0, $1;", "float($1)"}, {x.text}); }
F32 toFloatSigned(const U64& x) {
  return number({"cvt.rn.f32.s64 $0, $1;", "float(int64_t($1))"}, {x.text});
}
I32 toInteger(const F32& x) {
  return whole({"cvt.rzi.s32.f32 $0, $1;", "toInteger($1)"}, {x.text});
}
F32 variable(const F32& x) { return F32(Text::current().variable(Kind::number, x.text)); }
void assign(const F32& variable, const F32& x) {
  Text::current().assign(Kind::number, variable.text, x.text);
}

}  // namespace figment::cuda::elementwise
