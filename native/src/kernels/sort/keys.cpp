// Sorting and selecting keys: radix sort from the lowest digit for long rows, comparisons for short
// ones.
#include "keys.h"

#include <algorithm>
#include <cstring>

namespace figment::sorting {
namespace {

constexpr int64_t kShortRow = 64;  // where comparisons win
constexpr int kDigitBits = 8;
constexpr int kDigits = 4;
constexpr int kBuckets = 1 << kDigitBits;

int digitOf(uint64_t key, int digit) {
  return int(key >> (32 + digit * kDigitBits)) & (kBuckets - 1);
}

}  // namespace

void sortKeys(uint64_t* keys, uint64_t* spare, int64_t size) {
  if (size <= kShortRow) return std::sort(keys, keys + size);
  uint32_t counts[kDigits][kBuckets] = {};
  for (int64_t i = 0; i < size; i++)
    for (int d = 0; d < kDigits; d++) counts[d][digitOf(keys[i], d)]++;
  uint64_t* from = keys;
  uint64_t* to = spare;
  for (int d = 0; d < kDigits; d++) {
    if (counts[d][digitOf(from[0], d)] == uint64_t(size)) continue;  // all alike
    uint32_t starts[kBuckets];
    uint32_t start = 0;
    for (int b = 0; b < kBuckets; b++) {
      starts[b] = start;
      start += counts[d][b];
    }
    for (int64_t i = 0; i < size; i++) to[starts[digitOf(from[i], d)]++] = from[i];
    std::swap(from, to);
  }
  if (from != keys) std::memcpy(keys, from, size_t(size) * sizeof(uint64_t));
}

uint64_t keepLeast(uint64_t* keys, int64_t size, int64_t count) {
  if (count < size) std::nth_element(keys, keys + count - 1, keys + size);
  return *std::max_element(keys, keys + count);
}

void selectKeys(uint64_t* keys, int64_t size, int64_t count) {
  if (count <= 0) return;
  if (count < size) std::nth_element(keys, keys + count - 1, keys + size);
  std::sort(keys, keys + count);
}

}  // namespace figment::sorting
