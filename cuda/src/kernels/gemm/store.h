// Stores a block's tile of sums by way of shared memory, so that neighbours in memory are written
// together and what an epilogue does stands in the program once.
#pragma once

#include "epilogue.h"
#include "product.h"

namespace figment::cuda {

/// Sums of a tile in shared memory: pairs and octets of columns stay neighbours, and the pairs that
/// mma leaves in eight lanes of four share no banks.
template <int kColumns>
FIGMENT_DEVICE int sumIndex(int row, int column) {
  return row * kColumns + ((column / 8 ^ (row & 3)) * 8) + column % 8;
}

/// Of all the block's threads, after a barrier that follows the last write of `sums`.
template <int kRows, int kColumns, int kThreads>
FIGMENT_DEVICE void storeTile(const Epilogue<float>& epilogue, const Product& p, const Phase& phase,
                              const Task& task, const Shared<float>& sums) {
  constexpr int kOctets = kColumns / 8;
  const int32_t biasFirst = task.group * p.biasGroup;
  FIGMENT_UNROLL_BY(1)
  for (int i = int(threadIdx.x); i < kRows * kOctets; i += kThreads) {
    const int32_t row = task.firstRow + i / kOctets, column = task.firstColumn + i % kOctets * 8;
    if (row >= phase.rows || column >= p.columns) continue;
    const int from = sumIndex<kColumns>(i / kOctets, i % kOctets * 8);
    const int64_t out = task.out + rowOffset(p, phase, uint32_t(row)) + column;
    if (epilogue.octets) {
      epilogue.storeOctet(out, biasFirst + column, sums.template load<float4>(from),
                          sums.template load<float4>(from + 4));
      continue;
    }
    FIGMENT_UNROLL_BY(1)
    for (int e = 0; e < 8 && column + e < p.columns; e++)
      epilogue.store(out + e, biasFirst + column + e, sums[from + e]);
  }
}

}  // namespace figment::cuda
