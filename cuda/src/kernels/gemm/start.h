// Starts one of the kernels of products: with as many blocks as its plan says, each layout with its
// factors, and the sum of split depth after it.
#pragma once

#include "work.h"

namespace figment::cuda {

/// Whether rows of results begin and end at multiples of eight elements.
inline bool inOctets(const Product& p) {
  int64_t all = p.columns | p.outGroup | p.outImage | p.outRow | p.outColumn;
  for (int i = 0; i < p.phases; i++) all |= p.phase[i].outFirst;
  return all % 8 == 0;
}

/// Calls start(large, product, epilogue, blocks), which launches the kernel that writes whole or
/// partial sums, and adds the latter up. `canBeLarge`: kernels of large tiles can read the factors.
template <class Start>
void startWork(const Work& work, const WorkOperands& operands, bool canBeLarge, Launcher& launcher,
               Start&& start) {
  Product p = work.product;
  const Plan plan = planOf(p);
  p.splits = plan.splits;
  p.splitDepth = plan.splitDepth;
  Epilogue<float> epilogue = operands.epilogue;
  epilogue.octets = epilogue.aligned && inOctets(p);
  const bool large = plan.large && canBeLarge;
  const Grid grid = {tilesOf(p, large ? 128 : 64) * p.splits};
  if (p.splits == 1) return start(large, p, epilogue, grid);
  const Operand partial =
      rowOperand(launcher.scratch(), Format::f32, int64_t(scratchOf(p) / sizeof(float)));
  Epilogue<float> keep(partial);
  keep.octets = p.columns % 8 == 0;
  start(large, p, keep, grid);
  p.splits = 1;
  sumSplits(p, plan.splits, epilogue, launcher);
}

}  // namespace figment::cuda
