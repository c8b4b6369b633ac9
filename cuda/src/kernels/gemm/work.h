// A product as the host describes it to the kernels of this folder, and how it is divided among
// blocks.
#pragma once

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
  const int32_t by = narrowTo32(work, value);
  return Divisor(by < 1 ? 1 : by);
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

Plan planOf(const Product& p);

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

/// Adds partial sums up, in an order that their counts set, and stores what the epilogue makes of
/// them.
void sumSplits(const Product& p, int32_t splits, const Epilogue<float>& epilogue,
               Launcher& launcher);

}  // namespace figment::cuda
