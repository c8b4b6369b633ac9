// What measurements say: for calls by their keys, which variant was fastest. TypeScript fills it,
// from the table that is shipped and from the user's own measurements; the registry asks it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "kernel.h"

namespace figment {

/// Where a measurement comes from; those of this machine come before shipped ones.
enum class Origin : uint8_t { shipped, here };

struct Measured {
  std::string variant;  ///< empty when nothing was measured
  Origin origin = Origin::shipped;
};

/// Names a call in tables of measurements: operation, formats, dims and, where they are not those
/// of rows, strides of its operands, and its parameters as words.
std::string keyOf(std::string_view op, const OpCall& call);

/// Adds what was measured with an instruction set as the limit; an entry replaces one of the same
/// origin.
void addMeasured(Isa isa, Origin origin, const std::string& key, const std::string& variant);

Measured measuredFor(Isa isa, const std::string& key);

}  // namespace figment
