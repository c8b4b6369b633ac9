// A reduction with its dimensions merged: the kept ones, the reduced ones, and the fastest one
// apart.
#pragma once

#include "../kernel.h"

namespace figment::reduce {

enum class Kind : int32_t { kSum = 0, kMax = 1, kMin = 2 };

/// Indices that are numbered row-major and map to offsets in the input.
struct IndexSet {
  int rank = 0;
  int64_t count = 1;
  int64_t dims[kMaxRank];
  int64_t strides[kMaxRank];

  /// Always inlined: files of every instruction set use it.
  inline __attribute__((always_inline)) int64_t offset(int64_t index) const {
    if (rank == 0) return 0;
    int64_t offset = 0;
    for (int d = rank - 1; d > 0; d--) {
      offset += index % dims[d] * strides[d];
      index /= dims[d];
    }
    return offset + index * strides[0];
  }
};

struct Shape {
  IndexSet kept;     ///< without the fastest dimension
  IndexSet reduced;  ///< without the fastest dimension
  int64_t last = 1;
  bool lastReduced = true;
};

Shape mergeShape(const Operand& x, int32_t axes);

}  // namespace figment::reduce
