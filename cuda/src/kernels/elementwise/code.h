// Register code as this plug-in's kernels take it: each instruction a value of its own that is
// computed once, without what no output needs, loads of one input merged, and stores at the end, so
// that an output may lie on an input.
#pragma once

#include <vector>

#include "kernels/elementwise/program.h"

namespace figment::cuda::elementwise {

using figment::elementwise::kMaxInputs;
using figment::elementwise::kMaxInstructions;
using figment::elementwise::kMaxOutputs;
using figment::elementwise::kMaxRegisters;

struct Value {
  Opcode op;
  RegisterType type;  ///< of the result; of the operands for comparisons
  RegisterType from;  ///< of a cast's operand
  int sources[3];     ///< earlier values; of a load the input
  double constant;
};

struct Code {
  std::vector<Value> values;
  std::vector<int> stores;  ///< the value of each output

  bool hasDoubles() const;
};

/// Of a call that the operation's guard has accepted.
Code codeOf(const OpCall& call);

/// What a value is: comparisons give i32 whatever they compare.
inline RegisterType resultType(const Value& value) {
  return figment::elementwise::isComparison(value.op) ? RegisterType::kI32 : value.type;
}

/// A register for each value, so that few are live at a time; those of outputs stay to the end.
struct Allocation {
  std::vector<int> registers;
  int count = 0;
};
Allocation allocateRegisters(const Code& code);

}  // namespace figment::cuda::elementwise
