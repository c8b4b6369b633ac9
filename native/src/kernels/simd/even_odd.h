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

/// The opposite.
FIGMENT_INLINE void storeEvenOdd(float* p, F32 even, F32 odd) {
#if FIGMENT_LEVEL == 2
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  _mm512_storeu_ps(p, _mm512_permutex2var_ps(even.v, low, odd.v));
  _mm512_storeu_ps(p + kLanes, _mm512_permutex2var_ps(even.v, high, odd.v));
#else
  float numbers[2][kLanes];
  even.store(numbers[0]);
  odd.store(numbers[1]);
  for (int i = 0; i < kLanes; i++) {
    p[2 * i] = numbers[0][i];
    p[2 * i + 1] = numbers[1][i];
  }
#endif
}

}  // namespace figment::FIGMENT_ISA
