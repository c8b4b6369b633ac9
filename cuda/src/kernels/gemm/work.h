// A product as the host describes it to the kernels of this folder, and how it is divided among
// blocks.
#pragma once

#include <algorithm>
#include <cstdint>

#include "epilogue.h"
#include "loaders.h"

namespace figment::cuda {

/// Which factors lie how; see loaders.h. A's loader, then B's.
enum class Layout {
  forward,     ///< window, matrix: convolution, a · bᵀ
  backward,    ///< window, taps: the input gradient, a · b
  weights,     ///< taps, window: the weight gradient, aᵀ · b
  transposed,  ///< taps, matrix: aᵀ · bᵀ
};

struct Work {
  Layout layout = Layout::forward;
  Product product;
  WindowFactor window;
  MatrixFactor matrix;
  TapFactor taps;
  /// Every number fits the type that kernels count it in.
  bool fits = true;
};

/// `value` as 32 bits; a work that has larger numbers does not fit.
inline int32_t narrowTo32(Work& work, int64_t value) {
  if (value < -(int64_t(1) << 30) || value > int64_t(1) << 30) {
    work.fits = false;
    return 0;
  }
  return int32_t(value);
}
/// What divides by `value`, which may be zero where there is nothing to divide.
inline Divisor divisorOf(Work& work, int64_t value) {
  return Divisor(std::max(narrowTo32(work, value), 1));
}

/// Of depth in units that every kernel's tile divides.
constexpr int32_t kDepthUnit = 64;

/// How a product is divided: by its shape alone, so that sums have one order.
struct Plan {
  bool large = false;  ///< tiles of 128 × 128, not 64 × 64
  int32_t splits = 1, splitDepth = 0;
};

inline int64_t tilesOf(const Product& p, int size) {
  return ceilDiv(int64_t(p.mostRows), size) * ceilDiv(int64_t(p.columns), size) * p.groups *
         p.phases;
}

/// Into how many parts of the depth, which has `units`: the fewest turns of all blocks together, by
/// an estimate in units, of which a block's begin and end take some, and each part's sums a little.
inline int64_t splitsOf(int64_t tiles, bool large, int64_t units, int64_t most) {
  constexpr int64_t kTogether = 264;  ///< blocks on a large GPU, two on each multiprocessor
  constexpr double kBlock = 2, kSums = 2, kPart = 0.08, kLarge = 0.01, kSmall = 0.0025;
  const double part = kPart + double(tiles) * (large ? kLarge : kSmall);
  int64_t best = 1;
  double bestTime = 0;
  for (int64_t splits = 1; splits <= most; splits++) {
    if (splits > 1 && tiles * splits > 4 * kTogether) break;
    double time =
        double(ceilDiv(tiles * splits, kTogether)) * (double(ceilDiv(units, splits)) + kBlock);
    if (splits > 1) time += kSums + double(splits) * part;
    if (splits > 1 && time >= bestTime) continue;
    best = splits;
    bestTime = time;
  }
  return best;
}

inline Plan planOf(const Product& p) {
  // Large tiles are for work that fills a large GPU with them; the least depth that is worth a
  // block of its own.
  constexpr int64_t kBusy = 132, kLeastDepth = 256, kMostSplits = 128;
  int32_t depth = 0;
  for (int i = 0; i < p.phases; i++) depth = std::max(depth, p.phase[i].depth);
  Plan plan;
  const int64_t couldSplit = std::clamp<int64_t>(depth / kLeastDepth, 1, kMostSplits);
  plan.large = p.mostRows > 64 && p.columns > 64 && tilesOf(p, 128) * couldSplit >= kBusy;
  const int64_t tiles = std::max<int64_t>(tilesOf(p, plan.large ? 128 : 64), 1);
  const int64_t units = std::max<int64_t>(ceilDiv(depth, kDepthUnit), 1);
  const int64_t each = ceilDiv(units, splitsOf(tiles, plan.large, units, couldSplit));
  plan.splits = int32_t(ceilDiv(units, each));
  plan.splitDepth = int32_t(each * kDepthUnit);
  return plan;
}

/// Bytes of partial sums.
inline size_t scratchOf(const Product& p) {
  const Plan plan = planOf(p);
  if (plan.splits == 1) return 0;
  return size_t(plan.splits) * size_t(p.groups) * size_t(p.phases) * size_t(p.mostRows) *
         size_t(p.columns) * sizeof(float);
}

/// The memory of a work's operands.
struct WorkOperands {
  const Operand& a;
  const Operand& b;
  Epilogue<float> epilogue;
  const Operand& out;
};

using RunWork = void (*)(const Work&, const WorkOperands&, Launcher&);

// Each runs a work that fits, whose result has elements: on tensor cores, for factors of one 16-bit
// format; on tensor cores for factors of any formats, split into two bf16 parts or rounded to TF32;
// by multiply-adds in f32, for factors of any formats; and the same for large tiles of f32 factors.
void runMma(const Work& work, const WorkOperands& operands, Launcher& launcher);
void runSplit(const Work& work, const WorkOperands& operands, Launcher& launcher);
void runTf32(const Work& work, const WorkOperands& operands, Launcher& launcher);
/// Of large tiles of aligned f32 factors.
void runTf32Async(const Work& work, const WorkOperands& operands, Launcher& launcher);
void runTiled(const Work& work, const WorkOperands& operands, Launcher& launcher);
void runTiledAsync(const Work& work, const WorkOperands& operands, Launcher& launcher);

/// Adds partial sums up, in order, and stores what the epilogue makes of them.
void sumSplits(const Product& p, int32_t splits, const Epilogue<float>& epilogue,
               Launcher& launcher);

}  // namespace figment::cuda
