// Register code of one element as lines of the current text.
#pragma once

#include <functional>
#include <vector>

#include "code.h"
#include "text.h"

namespace figment::cuda::elementwise {

/// A value of either type; the other one is empty.
struct Held {
  F32 number;
  I32 whole;
};

/// The outputs' values, where `input` answers the element of each input. The code has no f64.
std::vector<Held> evaluate(const Code& code, const std::function<Held(int)>& input);

/// About how many instructions an element takes.
int64_t costOf(const Code& code);

/// Between what memory holds of an element and its value. `hasBf16` says whether the processor
/// rounds to bf16 (sm_80).
Held fromMemory(Format format, const I32& bits);
I32 toMemory(Format format, const Held& value, bool hasBf16);

}  // namespace figment::cuda::elementwise
