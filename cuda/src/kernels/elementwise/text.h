// Straight-line code as text, in two dialects: PTX for the driver's assembler, and the C++ of our
// kernels, with which the same code is tried on the emulator. The types below stand for registers
// of the text that is being written (Text::current): an operation on them writes a line, and the
// functions of device/sequences.h write whole sequences.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

namespace figment::cuda::elementwise {

enum class Dialect { ptx, cpp };

/// Kinds of registers: %f, %r, %p and %l in PTX; float, int32_t, bool and uint64_t in C++.
enum class Kind { number, whole, truth, longWhole };
constexpr int kKinds = 4;

/// An operation in both dialects: $0 stands for the result, $1, $2, … for the operands. In C++ it
/// is the expression that is assigned to the result.
struct Form {
  const char* ptx;
  const char* cpp;
};

class Text {
 public:
  /// Becomes the current text until it is destroyed.
  explicit Text(Dialect dialect);
  ~Text();
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;
  static Text& current();

  Dialect dialect() const { return dialect_; }
  bool isPtx() const { return dialect_ == Dialect::ptx; }

  /// The result's new register.
  std::string compute(Kind kind, Form form, std::initializer_list<std::string> operands = {});
  /// A form without result.
  void perform(Form form, std::initializer_list<std::string> operands = {});
  /// A copy that assign() may overwrite.
  std::string variable(Kind kind, const std::string& value);
  void assign(Kind kind, const std::string& variable, const std::string& value);
  std::string fresh(Kind kind);
  void line(const std::string& text);
  /// Lines so far.
  int lines() const { return lines_; }

  void beginWhen(const std::string& truth);
  void endWhen();
  void beginLoop();
  /// Inside a loop, once: leaves it unless this holds.
  void keepLooping(const std::string& truth);
  void endLoop();

  const std::string& body() const { return body_; }
  /// PTX: the declarations of all registers.
  std::string declarations() const;

 private:
  static constexpr int kMostNested = 8;

  const Dialect dialect_;
  Text* const outer_;
  std::string body_;
  int registers_[kKinds] = {};
  int labels_ = 0;
  int lines_ = 0;
  int depth_ = 0;
  int open_[kMostNested] = {};
};

struct Predicate {
  std::string text;
};

struct I32 {
  std::string text;
  I32() = default;
  explicit I32(std::string text) : text(std::move(text)) {}
  explicit I32(int32_t literal);
};

struct U64 {
  std::string text;
  U64() = default;
  explicit U64(std::string text) : text(std::move(text)) {}
  explicit U64(uint64_t literal);
};

struct F32 {
  using Int = I32;
  using Long = U64;
  std::string text;
  F32() = default;
  explicit F32(std::string text) : text(std::move(text)) {}
  explicit F32(float literal);

  template <class Condition, class Work>
  static void repeatWhile(Condition condition, Work work) {
    Text& text = Text::current();
    text.beginLoop();
    text.keepLooping(condition().text);
    work();
    text.endLoop();
  }
};

template <class Work>
void when(const Predicate& condition, Work work) {
  Text& text = Text::current();
  text.beginWhen(condition.text);
  work();
  text.endWhen();
}

Predicate operator&(const Predicate& a, const Predicate& b);
Predicate operator|(const Predicate& a, const Predicate& b);
Predicate operator~(const Predicate& a);

I32 operator+(const I32& a, const I32& b);
I32 operator-(const I32& a, const I32& b);
I32 operator*(const I32& a, const I32& b);
I32 operator&(const I32& a, const I32& b);
I32 operator^(const I32& a, const I32& b);
I32 shl(const I32& a, int by);
I32 sar(const I32& a, int by);
I32 shr(const I32& a, int by);
Predicate eq(const I32& a, const I32& b);
Predicate ne(const I32& a, const I32& b);
Predicate lt(const I32& a, const I32& b);
Predicate le(const I32& a, const I32& b);
Predicate gt(const I32& a, const I32& b);
Predicate ge(const I32& a, const I32& b);
Predicate below(const I32& a, const I32& b);  ///< as unsigned numbers
I32 blend(const Predicate& mask, const I32& a, const I32& b);
I32 variable(const I32& x);
void assign(const I32& variable, const I32& x);

U64 operator+(const U64& a, const U64& b);
U64 operator-(const U64& a, const U64& b);
U64 operator*(const U64& a, const U64& b);
U64 multiply(const I32& a, const I32& b);  ///< unsigned
U64 shl(const U64& a, const I32& by);
U64 shr(const U64& a, const I32& by);
U64 upperHalf(const U64& a);
U64 lowerHalf(const U64& a);
I32 toInt(const U64& a);
U64 widen(const I32& a);  ///< unsigned
U64 blend(const Predicate& mask, const U64& a, const U64& b);
Predicate gtSigned(const U64& a, const U64& b);
I32 funnelLeft(const I32& high, const I32& low, const I32& by);

F32 operator+(const F32& a, const F32& b);
F32 operator-(const F32& a, const F32& b);
F32 operator*(const F32& a, const F32& b);
F32 operator/(const F32& a, const F32& b);
F32 operator-(const F32& a);
F32 fma(const F32& a, const F32& b, const F32& c);
F32 ratio(const F32& a, const F32& b);
F32 exp2Approx(const F32& x);
F32 sqrt(const F32& x);
F32 rsqrt(const F32& x);
F32 min(const F32& a, const F32& b);
F32 max(const F32& a, const F32& b);
Predicate lt(const F32& a, const F32& b);
Predicate le(const F32& a, const F32& b);
Predicate gt(const F32& a, const F32& b);
Predicate ge(const F32& a, const F32& b);
Predicate eq(const F32& a, const F32& b);
Predicate ne(const F32& a, const F32& b);  ///< true where one is NaN
F32 blend(const Predicate& mask, const F32& a, const F32& b);
F32 abs(const F32& x);
F32 copysign(const F32& x, const F32& sign);
F32 floor(const F32& x);
F32 ceil(const F32& x);
F32 nearest(const F32& x);
I32 asInt(const F32& x);
F32 asFloat(const I32& x);
F32 toFloat(const I32& x);
F32 toFloatSigned(const U64& x);
I32 toInteger(const F32& x);  ///< toward zero, saturating, NaN to 0
F32 variable(const F32& x);
void assign(const F32& variable, const F32& x);

}  // namespace figment::cuda::elementwise
