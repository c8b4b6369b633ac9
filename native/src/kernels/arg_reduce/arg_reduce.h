// The kinds of argReduce, as its parameter counts them.
#pragma once

#include "../kernel.h"

namespace figment {

constexpr int32_t kArgMax = 0;
constexpr int32_t kArgMin = 1;

}  // namespace figment
