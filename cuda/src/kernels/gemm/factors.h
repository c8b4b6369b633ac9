// Which kernels of this folder take a call's factors, and the variants that stand on them.
#pragma once

#include "work.h"

namespace figment::cuda {

/// Elements of 16 bytes; of the kernels that move eight elements at a time whatever their format.
constexpr int kMmaUnit = 8, kTiledUnit = 4;

inline bool factorsOnTensorCores(const OpCall& call) {
  const Format format = call.in[0].format;
  return format == call.in[1].format && (format == Format::bf16 || format == Format::f16);
}
/// Factors of other formats than one of 16 bits, at precision "fast", which two bf16 parts are
/// exact enough for (split.h). One TF32 product would lose 2⁻¹¹ of each term, more than any
/// precision allows.
template <class P>
bool mayBeSplit(const OpCall& call) {
  return call.as<P>().fast != 0 && call.out[0].format != Format::f64 && !factorsOnTensorCores(call);
}

/// Blocks of the smallest tiles, and elements of what is summed, are counted in 31 bits.
inline bool fitsGrid(const Work& work) {
  const Product& p = work.product;
  const double products = double(p.groups) * p.phases, matrix = double(p.mostRows) * p.columns;
  const double rows = double(p.mostRows) + 63, columns = double(p.columns) + 63;
  return work.fits && matrix < 2e9 && products * rows * columns / 64 < 1e9;
}

}  // namespace figment::cuda
