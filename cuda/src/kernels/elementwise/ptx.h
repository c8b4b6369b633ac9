// A kernel for one piece of register code, as text. It is made for the operands' formats, for how
// their elements lie, and for how many a thread takes; sizes, strides and addresses are arguments,
// so that one kernel serves calls of all shapes of its kind.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "code.h"
#include "rows.h"
#include "text.h"

namespace figment::cuda::elementwise {

/// How the elements of a group lie.
enum class Lie : uint8_t {
  together,  ///< next to each other, on a multiple of the group's size
  apart,     ///< a stride from each other
  same,      ///< all are one
};

struct Shape {
  Code code;
  std::vector<Format> formats;  ///< inputs first
  std::vector<Lie> lies;
  int inputs = 0;
  int outerRank = 0;
  int perGroup = 1;  ///< elements of a group
  int groups = 1;    ///< of a thread, a block's threads apart
  bool hasBf16 = false;
};

constexpr int kPtxThreads = 256;

/// What a kernel is called with: the bytes of its one parameter, laid out for a shape's operands
/// and outer rank. `addresses` false leaves 0 for where operands begin, as C++ text counts from
/// there.
struct Arguments {
  static constexpr size_t kMostBytes = 3072;
  std::byte bytes[kMostBytes];
};
Arguments argumentsOf(const Shape& shape, const Rows& rows, const std::vector<Operand>& operands,
                      const std::vector<Strides>& strides, bool addresses);

/// Whether kernels are written for code like this; the interpreter runs everything.
bool isPrintable(const OpCall& call, const Code& code);

/// A kernel's choices for a call that isPrintable(). A grid of that many threads keeps the device
/// busy.
Shape shapeOf(const OpCall& call, const figment::elementwise::Space& space, Code code,
              int64_t busyThreads, bool hasBf16);

/// The kernel alone, named so; PTX needs the header once before the first.
std::string printKernel(const Shape& shape, Dialect dialect, const std::string& name);
std::string ptxHeader(bool hasBf16);

}  // namespace figment::cuda::elementwise
