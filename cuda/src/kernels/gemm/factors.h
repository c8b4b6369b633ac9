// Which kernels of this folder take a call's factors.
#pragma once

#include "kernels/gemm/precision.h"
#include "layouts.h"

namespace figment::cuda {

/// Elements of 16 bytes; of the kernels that move eight elements at a time whatever their format.
constexpr int kMmaUnit = 8, kTiledUnit = 4;

inline bool factorsOnTensorCores(const OpCall& call) {
  const Format format = call.in[0].format;
  return format == call.in[1].format && (format == Format::bf16 || format == Format::f16);
}
inline bool sumsInF32(const OpCall& call) { return call.out[0].format != Format::f64; }
/// Factors of other formats than one of 16 bits, at a precision that allows tensor cores to take
/// less of them: two bf16 parts at "fast" (split.h), one TF32 number at "tf32" (tf32.h).
template <class P>
bool roundedAt(Precision precision, const OpCall& call) {
  return call.as<P>().precision == precision && sumsInF32(call) && !factorsOnTensorCores(call);
}

/// Large tiles of f32 factors that are aligned, as far as their shape says.
inline bool tiledAsync(const Work& work, const OpCall& call) {
  return largeOfSingles(work, call.in[0], call.in[1], AlignedFactors(work, true, true));
}

/// Blocks of the smallest tiles, and elements of what is summed, are counted in 31 bits.
inline bool fitsGrid(const Work& work) {
  const Product& p = work.product;
  const double products = double(p.groups) * p.phases, matrix = double(p.mostRows) * p.columns;
  const double rows = double(p.mostRows) + 63, columns = double(p.columns) + 63;
  return work.fits && matrix < 2e9 && products * rows * columns / 64 < 1e9;
}

}  // namespace figment::cuda
