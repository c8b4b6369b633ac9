// Which products of bf16 parts make a product of two factors on matrix tiles, and what that costs.
// Include only from files compiled for one instruction set.
#pragma once

#include "kernels/gemm/pack.inl.h"
#include "kernels/gemm/precision.h"

namespace figment::FIGMENT_ISA::split {

using gemm::smaller;

/// Parts of an f32 number, and of one at precision "fast".
constexpr int kExactParts = 3, kFastParts = 2;

/// How many parts numbers of a format need, of at most `most`.
constexpr int partsOf(Format format, int most) {
  if (format == Format::bf16) return 1;
  return format == Format::f16 ? 2 : most;
}

/// Parts of the factors. Products of part i by part j are left out where i + j is `most` or more.
struct Parts {
  int rows, columns, most;
  static Parts of(Format rows, Format columns, bool fast) {
    const int most = fast ? kFastParts : kExactParts;
    return {partsOf(rows, most), partsOf(columns, most), most};
  }
};

/// One of the products of parts.
struct Term {
  int row, column;
};

/// The products, in an order in which neighbours share a factor, which is then loaded once. The
/// first `together` are summed block by block of K; where rounding matters, the large one follows
/// by itself.
struct Chain {
  Term terms[kExactParts * kExactParts] = {};
  int count = 0, together = 0;

  constexpr explicit Chain(Parts parts) {
    const bool apart = parts.most == kExactParts;
    for (int row = parts.rows - 1; row >= 0; row--)
      for (int column = 0; column < int(smaller(parts.columns, parts.most - row)); column++)
        if (row + column > 0 || !apart) terms[count++] = {row, column};
    together = count;
    if (apart) terms[count++] = {0, 0};
  }
};

/// How many times as fast as implicit products by fused multiply-adds those on tiles are, for one
/// product of parts, splitting and all: that of weight gradients, which filtering competes with
/// most (native/NOTES.md). The cost of convolutions is counted apart, in conv/split.inl.h.
constexpr double kTilesRate = 8.5;
/// The same of dot products of bf16, on Zen 4: filtering still gains where products of them, 1.8
/// times as fast as multiply-adds, cost as much.
constexpr double kDotRate = 1.5;
inline double rateOf(const Parts& parts) { return kTilesRate / Chain(parts).count; }

}  // namespace figment::FIGMENT_ISA::split
