// What the implementations of gather and scatterAdd share: the report of a bad index.
#pragma once

#include <string>

#include "../kernel.h"

namespace figment::indexing {

inline bool inRange(int32_t index, int64_t axis) { return index >= 0 && index < axis; }

inline void reportIndex(Context& context, const char* op, int32_t index, int64_t position,
                        int64_t axis) {
  context.fail("ERR_FIGMENT_INDEX", std::string(op) + ": index " + std::to_string(index) +
                                        " at position " + std::to_string(position) +
                                        " is outside [0, " + std::to_string(axis) + ")");
}

/// Reports the first index outside the axis, whatever order workers run in.
inline void validateIndices(Context& context, const char* op, const int32_t* indices, int64_t count,
                            int64_t axis) {
  for (int64_t i = 0; i < count; i++)
    if (!inRange(indices[i], axis)) return reportIndex(context, op, indices[i], i, axis);
}

}  // namespace figment::indexing
