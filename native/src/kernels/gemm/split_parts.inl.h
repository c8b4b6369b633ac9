// Which products of bf16 parts make a product of two factors on matrix tiles, and what that costs.
// Include only from files compiled for one instruction set.
#pragma once

#include "kernels/gemm/pack.inl.h"

namespace figment::FIGMENT_ISA::split {

using gemm::smaller;

/// Parts of an f32 number.
constexpr int kMostParts = 3;

/// How many parts numbers of a format need.
constexpr int partsOf(Format format) {
  if (format == Format::bf16) return 1;
  return format == Format::f16 ? 2 : kMostParts;
}

/// Parts of the factors.
struct Parts {
  int rows, columns;
  static Parts of(Format rows, Format columns) { return {partsOf(rows), partsOf(columns)}; }
};

/// One of the products of parts.
struct Term {
  int row, column;
};

/// The small products, in an order in which neighbours share a factor, which is then loaded once.
struct Chain {
  Term terms[kMostParts * kMostParts];
  int count = 0;

  explicit Chain(const Parts& parts) {
    for (int row = parts.rows - 1; row >= 0; row--)
      for (int column = 0; column < smaller(parts.columns, kMostParts - row); column++)
        if (row + column > 0) terms[count++] = {row, column};
  }
};

/// How many times as fast as implicit products by fused multiply-adds those on tiles are: estimated
/// from ceilings and a trial, for one product of parts (see native/NOTES.md).
constexpr double kTilesRate = 8.5;
inline double rateOf(const Parts& parts) { return kTilesRate / (Chain(parts).count + 1); }

}  // namespace figment::FIGMENT_ISA::split
