// The matrix tiles of matrix_tiles.inl.h in terms of AVX-512's dot products of bf16, for machines
// without AMX. Sums stay in the first-level cache between products, and factors where they are: a
// product reads them from there, so that loading one only says where it lies. A product takes 16
// registers of sums, one of columns, and rows as broadcast operands in memory; on Zen 4 it runs at
// 19/20 of the rate of the instruction. In assembly, as what else these files do is AVX-512 without
// it. Include only from *.avx512bf16.cpp.
#pragma once

#include "kernels/gemm/matrix_tiles.inl.h"
#include "kernels/simd/bf16.h"

namespace figment::FIGMENT_ISA::tiles {

/// sums[m][n] += Σ_k a[m][2k] b[k][2n] + a[m][2k + 1] b[k][2n + 1] for rows of so many bytes; each
/// k adds its two products one after the other. The instruction takes denormals for zero and
/// flushes those that it makes. One copy, because it fills a good part of the cache of
/// instructions.
[[gnu::noinline]] inline void dotProducts(float* sums, const std::byte* a, int64_t aBytes,
                                          const std::byte* b, int64_t bBytes) {
  constexpr int64_t kWord = sizeof(float);  // a pair of bf16 numbers
  __m512 row[kSide];
#pragma GCC unroll 16
  for (int64_t m = 0; m < kSide; m++) row[m] = _mm512_load_ps(sums + m * kSide);
#pragma GCC unroll 16
  for (int64_t k = 0; k < kSide; k++) {
    const __m512 columns = _mm512_loadu_ps(b + k * bBytes);
#pragma GCC unroll 16
    for (int64_t m = 0; m < kSide; m++)
      __asm__("vdpbf16ps %2%{1to16%}, %1, %0"
              : "+v"(row[m])
              : "v"(columns), "m"(*reinterpret_cast<const float*>(a + m * aBytes + k * kWord)));
  }
#pragma GCC unroll 16
  for (int64_t m = 0; m < kSide; m++) _mm512_store_ps(sums + m * kSide, row[m]);
}

/// Eight tiles of 16 rows of 64 bytes. A loaded tile is a view of memory, which must not change
/// before it was last used.
class DotProductTiles {
 public:
  static constexpr const char* kName = "avx512-bf16";
  static constexpr Isa kIsa = Isa::avx512bf16;
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
  template <int kC, int kA, int kB>
  FIGMENT_INLINE void dot() {
    if (views_[kC].rows != own(kC).rows) {
      copy(reinterpret_cast<std::byte*>(sums_[kC]), kRowBytes, views_[kC]);
      views_[kC] = own(kC);
    }
    const View a = views_[kA], b = views_[kB];
    dotProducts(sums_[kC], a.rows, a.stepBytes, b.rows, b.stepBytes);
  }

 private:
  struct View {
    const std::byte* rows;
    int64_t stepBytes;
  };

  View own(int tile) const { return {reinterpret_cast<const std::byte*>(sums_[tile]), kRowBytes}; }
  static FIGMENT_INLINE void copy(std::byte* to, int64_t stepBytes, const View& from) {
    for (int64_t m = 0; m < kSide; m++)
      _mm512_storeu_si512(to + m * stepBytes, _mm512_loadu_si512(from.rows + m * from.stepBytes));
  }

  alignas(kRowBytes) float sums_[8][kSide * kSide];
  View views_[8];
};

}  // namespace figment::FIGMENT_ISA::tiles
