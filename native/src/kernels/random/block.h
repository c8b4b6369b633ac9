// Philox4x32-10 one block at a time, as its paper writes it (J. K. Salmon, M. A. Moraes, R. O.
// Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
#pragma once

#include "../kernel.h"
#include "stream.h"

namespace figment {

struct Block {
  uint32_t word[4];
};

FIGMENT_ALWAYS_INLINE Block philoxBlock(const Stream& stream, uint64_t block) {
  const uint64_t counter = stream.counter + block;
  Block x = {{uint32_t(counter), uint32_t(counter >> 32), 0, 0}};
  uint32_t key0 = stream.key0, key1 = stream.key1;
  for (int round = 0; round < 10; round++) {
    const uint64_t p0 = uint64_t(0xD2511F53u) * x.word[0];
    const uint64_t p1 = uint64_t(0xCD9E8D57u) * x.word[2];
    x = {{uint32_t(p1 >> 32) ^ x.word[1] ^ key0, uint32_t(p1),
          uint32_t(p0 >> 32) ^ x.word[3] ^ key1, uint32_t(p0)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return x;
}

/// 64 random bits: element `index` of a stream whose elements take two words each.
FIGMENT_ALWAYS_INLINE uint64_t wideWord(const Stream& stream, int64_t index) {
  const Block block = philoxBlock(stream, uint64_t(index) / 2);
  const uint32_t* pair = block.word + 2 * (index % 2);
  return uint64_t(pair[0]) << 32 | pair[1];
}

}  // namespace figment
