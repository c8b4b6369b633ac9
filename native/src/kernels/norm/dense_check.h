// The guard that dense ops share: operand counts, formats, extents and contiguity against the
// parameters, with dims from a stranger. Each op's check() is a chain of these calls; the first
// failure is the answer.
#pragma once

#include <initializer_list>
#include <string>

#include "../kernel.h"
#include "../widened.h"

namespace figment {

/// Checks one call. Extents are compared "folded": an operand [n,h,w,c] may stand where [n,h·w,c]
/// is expected, since a dense operand of either shape is the same bytes. Once done() answers "",
/// the parameters equal the operands' extents and the product of any of an operand's expected
/// extents fits an int64.
class DenseCheck {
 public:
  DenseCheck(const char* op, const OpCall& call, int64_t inputs, int64_t outputs)
      : op_(op), call_(call) {
    if (call.inCount != inputs || call.outCount != outputs)
      refuse("takes " + std::to_string(inputs) + " inputs and " + std::to_string(outputs) +
             " outputs, got " + std::to_string(call.inCount) + " and " +
             std::to_string(call.outCount));
  }

  DenseCheck& require(bool condition, const char* rule) {
    if (ok() && !condition) refuse(rule);
    return *this;
  }
  DenseCheck& input(int64_t i, const char* name, Format format,
                    std::initializer_list<int64_t> extents) {
    if (ok()) dense(call_.in[i], name, format, extents);
    return *this;
  }
  DenseCheck& output(int64_t i, const char* name, Format format,
                     std::initializer_list<int64_t> extents) {
    if (ok()) dense(call_.out[i], name, format, extents);
    return *this;
  }
  /// The format of input i, which must be f32 or f64; f32 after a failure.
  Format floating(int64_t i) {
    if (!ok()) return Format::f32;
    const Format format = call_.in[i].format;
    require(format == Format::f32 || format == Format::f64, "computes in f32 or f64 only");
    return ok() ? format : Format::f32;
  }
  /// The format of input i, which must be a float of any size; f32 after a failure.
  Format anyFloating(int64_t i) {
    if (!ok()) return Format::f32;
    const Format format = call_.in[i].format;
    require(format == Format::f32 || format == Format::f64 || format == Format::bf16 ||
                format == Format::f16,
            "computes in floats only");
    return ok() ? format : Format::f32;
  }
  /// The first inputs and the outputs: floats of at most 32 bits in any mix, or all f64; the chain
  /// then names each operand's own format.
  DenseCheck& floats(int inputs) {
    const std::string problem = ok() ? floatFormatProblem(call_, inputs) : "";
    if (!problem.empty()) refuse(problem);
    return *this;
  }
  Format inputFormat(int64_t i) const { return ok() ? call_.in[i].format : Format::f32; }
  Format outputFormat(int64_t i) const { return ok() ? call_.out[i].format : Format::f32; }
  /// What residuals are kept in: f32, or f64 where everything is.
  Format wideFormat() const { return inputFormat(0) == Format::f64 ? Format::f64 : Format::f32; }
  bool ok() const { return failure_.empty(); }
  const std::string& done() const { return failure_; }

 private:
  /// More elements than any memory holds, and small enough that byte counts of several operands
  /// together stay inside int64.
  static constexpr int64_t kMaxElements = int64_t{1} << 46;

  void refuse(const std::string& rule) {
    if (ok()) failure_ = std::string(op_) + ": " + rule;
  }

  /// Product of the extents that are not zero, -1 when one is negative or it passes kMaxElements.
  static int64_t boundedProduct(const int64_t* extents, size_t count) {
    int64_t product = 1;
    for (size_t i = 0; i < count; i++) {
      if (extents[i] < 0 ||
          __builtin_mul_overflow(product, extents[i] ? extents[i] : 1, &product) ||
          product > kMaxElements)
        return -1;
    }
    return product;
  }

  static bool holdsZero(const int64_t* extents, size_t count) {
    for (size_t i = 0; i < count; i++)
      if (extents[i] == 0) return true;
    return false;
  }

  static bool folds(const Operand& operand, std::initializer_list<int64_t> extents) {
    int axis = 0;
    for (int64_t extent : extents) {
      int64_t folded = 1;
      while (folded < extent && axis < operand.rank) folded *= operand.dims[axis++];
      if (folded != extent) return false;
    }
    while (axis < operand.rank)
      if (operand.dims[axis++] != 1) return false;
    return true;
  }

  void dense(const Operand& operand, const char* name, Format format,
             std::initializer_list<int64_t> extents) {
    if (operand.format != format) return refuse(std::string(name) + " has the wrong format");
    if (operand.rank > kMaxRank || boundedProduct(operand.dims, operand.rank) < 0 ||
        boundedProduct(extents.begin(), extents.size()) < 0)
      return refuse(std::string(name) + " has extents out of range");
    const bool empty = holdsZero(operand.dims, operand.rank);
    if (empty != holdsZero(extents.begin(), extents.size()) || (!empty && !folds(operand, extents)))
      return refuse(std::string(name) + " should be " + text(extents.begin(), extents.size()) +
                    ", is " + text(operand.dims, operand.rank));
    if (!empty && !operand.contiguous()) refuse(std::string(name) + " must be contiguous");
  }

  static std::string text(const int64_t* extents, size_t count) {
    std::string s = "[";
    for (size_t i = 0; i < count; i++) {
      if (i > 0) s += ',';
      s += std::to_string(extents[i]);
    }
    s += ']';
    return s;
  }

  const char* op_;
  const OpCall& call_;
  std::string failure_;
};

}  // namespace figment
