// The state of a random stream as operations carry it: four int32 words, key low, key high, counter
// low, counter high. The counter counts Philox blocks of four elements.
#pragma once

#include <cstdint>

namespace figment {

/// Its functions are always inlined, since files of every instruction set use them.
struct Stream {
  uint32_t key0, key1;
  uint64_t counter;

  static inline __attribute__((always_inline)) Stream fromState(const int32_t* state) {
    return {uint32_t(state[0]), uint32_t(state[1]),
            uint64_t(uint32_t(state[3])) << 32 | uint32_t(state[2])};
  }
  /// Writes the state after `count` elements have been drawn; a begun block counts as used.
  inline __attribute__((always_inline)) void advance(int64_t count, int32_t* state) const {
    const uint64_t next = counter + (uint64_t(count) + 3) / 4;
    state[0] = int32_t(key0);
    state[1] = int32_t(key1);
    state[2] = int32_t(uint32_t(next));
    state[3] = int32_t(uint32_t(next >> 32));
  }
};

}  // namespace figment
