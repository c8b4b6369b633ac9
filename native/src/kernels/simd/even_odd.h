// Vectors of every other number in memory.
#pragma once

#include "kernels/simd/vec.h"

namespace figment::FIGMENT_ISA {

/// Elements 0, 2, 4, … and 1, 3, 5, … of 2·kLanes.
FIGMENT_INLINE void loadEvenOdd(const float* p, F32& even, F32& odd) {
#if FIGMENT_LEVEL == 2
  const __m512i places = _mm512_slli_epi32(I32::iota().v, 1);
  const __m512 a = _mm512_loadu_ps(p), b = _mm512_loadu_ps(p + kLanes);
  even.v = _mm512_permutex2var_ps(a, places, b);
  odd.v = _mm512_permutex2var_ps(a, _mm512_add_epi32(places, _mm512_set1_epi32(1)), b);
#else
  float numbers[2][kLanes];
  for (int i = 0; i < kLanes; i++) {
    numbers[0][i] = p[2 * i];
    numbers[1][i] = p[2 * i + 1];
  }
  even = F32::load(numbers[0]);
  odd = F32::load(numbers[1]);
#endif
}

}  // namespace figment::FIGMENT_ISA
