// Philox4x32-10 (J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as
// easy as 1, 2, 3", SC 2011) over the lanes of simd/vec.h. Block b of a stream is Philox of the
// counter (counter + b) under the stream's key: four words, elements 4b .. 4b + 3. All instruction
// sets give the same bits.
//
//   const Stream stream = Stream::fromState(state);        // int32 key lo, key hi, counter lo, hi
//   const Draw draw = drawWords(stream, block, order);     // kBlocksPerDraw blocks from this on
#pragma once

#include "../simd/vec.h"
#include "stream.h"

namespace figment::FIGMENT_ISA {

/// Groups of blocks that a draw computes. Each is one long chain of operations that wait for one
/// another, so the build has the compiler schedule the groups among each other. A branch within a
/// draw would keep it from that.
constexpr int kGroups = 4;
/// Blocks of a group: one for each 64-bit lane.
constexpr int kGroupBlocks = kLanes / 2;
constexpr int kBlocksPerDraw = kGroups * kGroupBlocks;

/// Four words of the blocks of a group. Each block has a 64-bit lane; only its low half counts,
/// which spares the masking of products.
struct PhiloxWords {
  I32 x0, x1, x2, x3;
};

/// The blocks of a group in the order of the 64-bit lanes.
FIGMENT_INLINE I32 plainOrder() {
  int32_t order[kLanes];
  for (int lane = 0; lane < kLanes; lane++) order[lane] = lane % 2 != 0 ? 0 : lane / 2;
  return I32::load(order);
}
/// In each group of four 32-bit lanes g there are blocks g and g + kLanes / 4, so that interleaving
/// two vectors restores the order.
FIGMENT_INLINE I32 interleavedOrder() {
  int32_t order[kLanes];
  for (int lane = 0; lane < kLanes; lane++)
    order[lane] = lane % 2 != 0 ? 0 : lane / 4 + (lane % 4 == 2 ? kLanes / 4 : 0);
  return I32::load(order);
}

/// Ten rounds applied to the counters in the 64-bit lanes.
FIGMENT_INLINE PhiloxWords philox(I32 counter, uint32_t key0, uint32_t key1) {
  constexpr uint32_t kStep0 = 0x9E3779B9u;  // golden ratio
  constexpr uint32_t kStep1 = 0xBB67AE85u;  // sqrt(3) - 1
  const I32 m0 = I32::broadcast(int32_t(0xD2511F53u));
  const I32 m1 = I32::broadcast(int32_t(0xCD9E8D57u));
  // The first two rounds: words 2 and 3 of a counter are zero, and so is the second product of the
  // first round.
  const I32 first = mulWideEven(counter, m0);
  const I32 high = oddToEven(counter) ^ I32::broadcast(int32_t(key0));
  const I32 second0 = mulWideEven(high, m0);
  const I32 second1 = mulWideEven(oddToEven(first) ^ I32::broadcast(int32_t(key1)), m1);
  key0 += kStep0;
  key1 += kStep1;
  PhiloxWords x = {oddToEven(second1) ^ I32::broadcast(int32_t(key0)), second1,
                   xor3(first, I32::broadcast(int32_t(key1)), oddToEven(second0)), second0};
#pragma GCC unroll 8
  for (int round = 2; round < 10; round++) {
    key0 += kStep0;
    key1 += kStep1;
    const I32 p0 = mulWideEven(x.x0, m0);
    const I32 p1 = mulWideEven(x.x2, m1);
    x.x0 = xor3(x.x1, I32::broadcast(int32_t(key0)), oddToEven(p1));
    x.x2 = xor3(x.x3, I32::broadcast(int32_t(key1)), oddToEven(p0));
    x.x1 = p1;
    x.x3 = p0;
  }
  return x;
}

/// Consecutive blocks, kGroupBlocks in a group.
struct Draw {
  PhiloxWords group[kGroups];
};

/// The blocks [block, block + kBlocksPerDraw) of a stream, in each group in the order given.
FIGMENT_INLINE Draw drawWords(const Stream& stream, uint64_t block, I32 order) {
  const I32 first = I32::broadcastWide(stream.counter + block);
  Draw draw;
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; g++) {
    const I32 place = addWide(I32::broadcastWide(uint64_t(g * kGroupBlocks)), order);
    draw.group[g] = philox(addWide(first, place), stream.key0, stream.key1);
  }
  return draw;
}

/// Words 0 and 2 of the blocks, alternating, in every lane.
FIGMENT_INLINE I32 evenWords(const PhiloxWords& x) { return blendEvenOdd(x.x0, evenToOdd(x.x2)); }
/// Words 1 and 3.
FIGMENT_INLINE I32 oddWords(const PhiloxWords& x) { return blendEvenOdd(x.x1, evenToOdd(x.x3)); }

}  // namespace figment::FIGMENT_ISA
