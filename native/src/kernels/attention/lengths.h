// How many keys of each batch entry count: the optional last input of attention and its derivative.
#pragma once

#include "../kernel.h"

namespace figment {

struct KeyLengths {
  const int32_t* lengths;  ///< null: all
  int64_t most;

  /// The lengths are input `index`, if the call has that many.
  FIGMENT_ALWAYS_INLINE KeyLengths(const OpCall& call, int index, int64_t most)
      : lengths(call.inCount > index ? call.in[index].as<const int32_t>() : nullptr), most(most) {}

  /// As many for each.
  FIGMENT_ALWAYS_INLINE static KeyLengths all(int64_t most) { return KeyLengths(most); }

  FIGMENT_ALWAYS_INLINE int64_t of(int64_t batch) const {
    if (!lengths) return most;
    const int64_t length = lengths[batch];
    return length < 0 ? 0 : length > most ? most : length;
  }

 private:
  FIGMENT_ALWAYS_INLINE explicit KeyLengths(int64_t most) : lengths(nullptr), most(most) {}
};

}  // namespace figment
