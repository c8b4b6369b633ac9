// Elements as integers whose ascending order is the wanted one: the order of the elements (reversed
// when descending) with NaN last either way, ties by position. All keys of a row differ, so its
// order is the same however it is found.
#pragma once

#include "../kernel.h"

namespace figment::sorting {

/// The order of f32 as that of unsigned integers; zeros of both signs are equal.
FIGMENT_ALWAYS_INLINE uint32_t orderOf(float x, bool descending) {
  if (x != x) return UINT32_MAX;  // infinity of either order stays below
  uint32_t bits;
  x += 0.0f;  // −0 becomes 0
  __builtin_memcpy(&bits, &x, sizeof bits);
  const uint32_t order = bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
  return descending ? ~order : order;
}
FIGMENT_ALWAYS_INLINE uint32_t orderOf(int32_t x, bool descending) {
  const uint32_t order = uint32_t(x) ^ 0x80000000u;
  return descending ? ~order : order;
}

template <class T>
FIGMENT_ALWAYS_INLINE uint64_t keyOf(T x, int64_t index, bool descending) {
  return uint64_t(orderOf(x, descending)) << 32 | uint64_t(index);
}
FIGMENT_ALWAYS_INLINE int32_t indexOf(uint64_t key) { return int32_t(uint32_t(key)); }

/// Sorts keys whose low halves ascend already; `spare` holds as many.
void sortKeys(uint64_t* keys, uint64_t* spare, int64_t size);
/// Brings the `count` least keys to the front, in no particular order; returns the greatest of
/// them.
uint64_t keepLeast(uint64_t* keys, int64_t size, int64_t count);
/// Brings the `count` least keys to the front, in order.
void selectKeys(uint64_t* keys, int64_t size, int64_t count);

/// Writes the elements that the keys stand for, and their places.
template <class T>
FIGMENT_ALWAYS_INLINE void writeSorted(const uint64_t* keys, const T* x, int64_t count, T* values,
                                       int32_t* indices) {
  for (int64_t i = 0; i < count; i++) {
    indices[i] = indexOf(keys[i]);
    values[i] = x[indices[i]];
  }
}

}  // namespace figment::sorting
