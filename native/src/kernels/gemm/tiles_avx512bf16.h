// The matrix tiles of matrix_tiles.inl.h in terms of AVX-512's dot products of bf16, for machines
// without AMX. Factors stay where they are: a product reads them from there, so that loading one
// only says where it lies. Sums stay in 16 registers while they meet steps of K that are all known
// (addSteps), which convolutions and matrix products ask for, else in the first-level cache between
// products of tiles. The instruction is in assembly, as what else these files do is AVX-512 without
// it. Include only from *.avx512bf16.cpp.
#pragma once

#include "kernels/gemm/matrix_tiles.inl.h"
#include "kernels/simd/bf16.h"

namespace figment::FIGMENT_ISA::tiles {

/// Two neighbours along K, which are written as bf16 numbers.
using WordOfPair [[gnu::may_alias]] = float;

/// sums[m][n] += Σ_k a[m][2k] b[k][2n] + a[m][2k + 1] b[k][2n + 1] of the first kRows rows of
/// kColumns tiles of sums, for `steps` steps of K: the rows of each begin offset(step) bytes behind
/// `a`, its columns `bStep` bytes behind those of the step before. Each k adds its two products one
/// after the other; the instruction takes denormals for zero and flushes those that it makes.
template <int kRows, int kColumns, class Offset>
FIGMENT_INLINE void addDotProducts(float* const (&sums)[kColumns], const std::byte* a,
                                   int64_t aBytes, const std::byte* b, int64_t bBytes,
                                   int64_t bStep, int64_t steps, Offset&& offset) {
  constexpr int64_t kTileBytes = kTile * int64_t(sizeof(uint16_t));
  __m512 sum[kRows][kColumns];
#pragma GCC unroll 16
  for (int64_t m = 0; m < kRows; m++)
#pragma GCC unroll 2
    for (int64_t j = 0; j < kColumns; j++) sum[m][j] = _mm512_load_ps(sums[j] + m * kSide);
  for (int64_t step = 0; step < steps; step++, b += bStep) {
    const std::byte* rows = a + offset(step);
#pragma GCC unroll 16
    for (int64_t k = 0; k < kSide; k++) {
      __m512 columns[kColumns];
#pragma GCC unroll 2
      for (int64_t j = 0; j < kColumns; j++)
        columns[j] = _mm512_loadu_ps(b + j * kTileBytes + k * bBytes);
#pragma GCC unroll 16
      for (int64_t m = 0; m < kRows; m++) {
        const auto& pair = *reinterpret_cast<const WordOfPair*>(rows + m * aBytes +
                                                                k * int64_t(sizeof(WordOfPair)));
        if constexpr (kColumns == 1) {
          __asm__("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(sum[m][0]) : "v"(columns[0]), "m"(pair));
        } else {
          const __m512 pairs = _mm512_set1_ps(pair);
#pragma GCC unroll 2
          for (int64_t j = 0; j < kColumns; j++)
            __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum[m][j]) : "v"(columns[j]), "v"(pairs));
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int64_t m = 0; m < kRows; m++)
#pragma GCC unroll 2
    for (int64_t j = 0; j < kColumns; j++) _mm512_store_ps(sums[j] + m * kSide, sum[m][j]);
}

/// The product of two tiles. One copy, because it fills a good part of the cache of instructions.
[[gnu::noinline]] inline void addTileProduct(float* sums, const std::byte* a, int64_t aBytes,
                                             const std::byte* b, int64_t bBytes) {
  float* const tile[] = {sums};
  addDotProducts<kSide, 1>(tile, a, aBytes, b, bBytes, 0, 1, [](int64_t) { return 0; });
}

/// Eight tiles of 16 rows of 64 bytes. A loaded tile is a view of memory, which must not change
/// before it was last used.
class DotProductTiles {
 public:
  static constexpr const char* kName = "avx512-bf16";
  static constexpr Isa kIsa = Isa::avx512bf16;
  /// Whether there is addSteps().
  static constexpr bool kAddsSteps = true;
  template <bool (*kTakes)(const OpCall&), bool (*kFills)(const OpCall&)>
  static int supports(const OpCall& call) {
    if (!kTakes(call)) return -1;
    return kFills(call) ? gemm::kDotPreference : kPossible;
  }

  DotProductTiles() = default;
  DotProductTiles(const DotProductTiles&) = delete;
  DotProductTiles& operator=(const DotProductTiles&) = delete;

  template <int kTile>
  FIGMENT_INLINE void zero() {
    for (int64_t m = 0; m < kSide; m++)
      _mm512_store_ps(sums_[kTile] + m * kSide, _mm512_setzero_ps());
    views_[kTile] = own(kTile);
  }
  template <int kTile>
  FIGMENT_INLINE void load(const void* from, int64_t stepBytes) {
    views_[kTile] = {static_cast<const std::byte*>(from), stepBytes};
  }
  template <int kTile>
  FIGMENT_INLINE void stream(const void* from, int64_t stepBytes) {
    load<kTile>(from, stepBytes);
  }
  template <int kTile>
  FIGMENT_INLINE void store(void* to, int64_t stepBytes) const {
    copy(static_cast<std::byte*>(to), stepBytes, views_[kTile]);
  }
  static FIGMENT_INLINE void storeBf16(uint16_t* to, F32 low, F32 high) {
    storeBf16ByProcessor(to, low, high);
  }
  /// Adds to kColumns tiles of sums from tile kSums on the products of `steps` steps of K. The rows
  /// of each, `aBytes` long, begin offset(step) bytes behind `a`, its tiles of columns `bStep`
  /// bytes behind those of the step before. Calls beside() one or more times.
  template <int kSums, int kColumns, class Offset, class Next>
  FIGMENT_INLINE void addSteps(const void* a, int64_t aBytes, const void* b, int64_t bStep,
                               int64_t steps, Offset&& offset, Next&& beside) {
    constexpr int kRows = kSide / kColumns;  // of 16 registers
    gather<kSums>();
    if constexpr (kColumns == 2) gather<kSums + 1>();
    for (int64_t row = 0; row < kSide; row += kRows) {
      float* sums[kColumns];
      for (int j = 0; j < kColumns; j++) sums[j] = sums_[kSums + j] + row * kSide;
      addDotProducts<kRows, kColumns>(sums, static_cast<const std::byte*>(a) + row * aBytes, aBytes,
                                      static_cast<const std::byte*>(b), kRowBytes, bStep, steps,
                                      offset);
      beside();
    }
  }
  template <int kC, int kA, int kB>
  FIGMENT_INLINE void dot() {
    gather<kC>();
    const View a = views_[kA], b = views_[kB];
    addTileProduct(sums_[kC], a.rows, a.stepBytes, b.rows, b.stepBytes);
  }

 private:
  struct View {
    const std::byte* rows;
    int64_t stepBytes;
  };

  /// Makes a tile of sums its own.
  template <int kTile>
  FIGMENT_INLINE void gather() {
    if (views_[kTile].rows == own(kTile).rows) return;
    copy(reinterpret_cast<std::byte*>(sums_[kTile]), kRowBytes, views_[kTile]);
    views_[kTile] = own(kTile);
  }
  View own(int tile) const { return {reinterpret_cast<const std::byte*>(sums_[tile]), kRowBytes}; }
  static FIGMENT_INLINE void copy(std::byte* to, int64_t stepBytes, const View& from) {
    for (int64_t m = 0; m < kSide; m++)
      _mm512_storeu_si512(to + m * stepBytes, _mm512_loadu_si512(from.rows + m * from.stepBytes));
  }

  alignas(kRowBytes) float sums_[8][kSide * kSide];
  View views_[8];
};

}  // namespace figment::FIGMENT_ISA::tiles
