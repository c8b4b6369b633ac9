// AVX-512 registers behind the names of vec.h: 16 lanes, masks in mask registers. Include vec.h.
#pragma once

// GCC's own header reads deliberately undefined registers (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

namespace figment::avx512 {

struct Mask {
  __mmask16 v;
};
FIGMENT_INLINE Mask operator&(Mask a, Mask b) { return {__mmask16(a.v & b.v)}; }
FIGMENT_INLINE Mask operator|(Mask a, Mask b) { return {__mmask16(a.v | b.v)}; }
FIGMENT_INLINE Mask operator~(Mask a) { return {__mmask16(~a.v)}; }
FIGMENT_INLINE bool any(Mask a) { return a.v != 0; }
FIGMENT_INLINE bool all(Mask a) { return a.v == 0xffff; }
/// True in the first `count` lanes.
FIGMENT_INLINE __mmask16 firstLanes(int count) { return __mmask16((1u << count) - 1u); }

struct F32 {
  static constexpr int kLanes = 16;
  __m512 v;
  static FIGMENT_INLINE F32 zero() { return {_mm512_setzero_ps()}; }
  static FIGMENT_INLINE F32 broadcast(float x) { return {_mm512_set1_ps(x)}; }
  static FIGMENT_INLINE F32 load(const float* p) { return {_mm512_loadu_ps(p)}; }
  /// The first `count` (0 .. kLanes) elements, zero in the other lanes; touches no memory beyond.
  static FIGMENT_INLINE F32 loadPartial(const float* p, int count) {
    return {_mm512_maskz_loadu_ps(firstLanes(count), p)};
  }
  FIGMENT_INLINE void store(float* p) const { _mm512_storeu_ps(p, v); }
  FIGMENT_INLINE void storePartial(float* p, int count) const {
    _mm512_mask_storeu_ps(p, firstLanes(count), v);
  }
  /// Past the caches; p must be aligned to the register.
  FIGMENT_INLINE void stream(float* p) const { _mm512_stream_ps(p, v); }
  /// Keeps a loaded vector in its register, where the compiler would read memory at each use.
  FIGMENT_INLINE void hold() { asm("" : "+v"(v)); }
};

struct I32 {
  static constexpr int kLanes = 16;
  __m512i v;
  static FIGMENT_INLINE I32 zero() { return {_mm512_setzero_si512()}; }
  static FIGMENT_INLINE I32 broadcast(int32_t x) { return {_mm512_set1_epi32(x)}; }
  /// The same number in every 64-bit lane.
  static FIGMENT_INLINE I32 broadcastWide(uint64_t x) { return {_mm512_set1_epi64(int64_t(x))}; }
  static FIGMENT_INLINE I32 iota() {
    return {_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)};
  }
  static FIGMENT_INLINE I32 load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
  static FIGMENT_INLINE I32 loadPartial(const int32_t* p, int count) {
    return {_mm512_maskz_loadu_epi32(firstLanes(count), p)};
  }
  static FIGMENT_INLINE I32 loadU16(const uint16_t* p) {
    return {_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  /// The first `count` (0 .. kLanes) of loadU16, zero in the other lanes.
  static FIGMENT_INLINE I32 loadU16Partial(const uint16_t* p, int count) {
    return {_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(firstLanes(count), p))};
  }
  /// Pairs of 16-bit numbers: the first `count` (0 .. 2 kLanes) numbers, zero in place of others.
  static FIGMENT_INLINE I32 loadPairs(const uint16_t* p, int count) {
    return {_mm512_maskz_loadu_epi16(__mmask32((uint64_t(1) << count) - 1), p)};
  }
  /// Groups of four lanes, each from memory `stepBytes` behind the one before.
  static FIGMENT_INLINE I32 loadQuads(const void* p, int64_t stepBytes) {
    const auto* at = static_cast<const std::byte*>(p);
    const auto quad = [&](int64_t i) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at + i * stepBytes));
    };
    __m512i v = _mm512_inserti32x4(_mm512_castsi128_si512(quad(0)), quad(1), 1);
    v = _mm512_inserti32x4(v, quad(2), 2);
    return {_mm512_inserti32x4(v, quad(3), 3)};
  }
  static FIGMENT_INLINE I32 loadU8(const uint8_t* p) {
    return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  static FIGMENT_INLINE I32 loadI8(const int8_t* p) {
    return {_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  FIGMENT_INLINE void store(int32_t* p) const { _mm512_storeu_si512(p, v); }
  FIGMENT_INLINE void storePartial(int32_t* p, int count) const {
    _mm512_mask_storeu_epi32(p, firstLanes(count), v);
  }
  FIGMENT_INLINE void storeLow16(uint16_t* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(v));
  }
  FIGMENT_INLINE void storeLow8(uint8_t* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v));
  }
};

/// Half as many 64-bit lanes; for accumulation.
struct F64 {
  static constexpr int kLanes = 8;
  __m512d v;
  static FIGMENT_INLINE F64 zero() { return {_mm512_setzero_pd()}; }
  static FIGMENT_INLINE F64 broadcast(double x) { return {_mm512_set1_pd(x)}; }
  static FIGMENT_INLINE F64 load(const double* p) { return {_mm512_loadu_pd(p)}; }
  FIGMENT_INLINE void store(double* p) const { _mm512_storeu_pd(p, v); }
};

FIGMENT_INLINE F32 operator+(F32 a, F32 b) { return {_mm512_add_ps(a.v, b.v)}; }
FIGMENT_INLINE F32 operator-(F32 a, F32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
FIGMENT_INLINE F32 operator*(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
FIGMENT_INLINE F32 operator/(F32 a, F32 b) { return {_mm512_div_ps(a.v, b.v)}; }
FIGMENT_INLINE F32 fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
FIGMENT_INLINE F32 fnma(F32 a, F32 b, F32 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
FIGMENT_INLINE F32 min(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }
FIGMENT_INLINE F32 max(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }
FIGMENT_INLINE F32 sqrt(F32 a) { return {_mm512_sqrt_ps(a.v)}; }
FIGMENT_INLINE F32 floor(F32 a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};
}
FIGMENT_INLINE F32 ceil(F32 a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC)};
}
/// To the nearest integer, ties to even.
FIGMENT_INLINE F32 roundEven(F32 a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
FIGMENT_INLINE Mask eq(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ)}; }
FIGMENT_INLINE Mask ne(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_NEQ_UQ)}; }
FIGMENT_INLINE Mask lt(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
FIGMENT_INLINE Mask le(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ)}; }
FIGMENT_INLINE Mask gt(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ)}; }
FIGMENT_INLINE Mask ge(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_GE_OQ)}; }
FIGMENT_INLINE Mask isNan(F32 a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
FIGMENT_INLINE F32 blend(Mask m, F32 a, F32 b) { return {_mm512_mask_blend_ps(m.v, b.v, a.v)}; }

/// a in the lanes where the sign bit of s is set, b elsewhere.
FIGMENT_INLINE F32 blendBySign(I32 s, F32 a, F32 b) {
  return {_mm512_mask_blend_ps(_mm512_movepi32_mask(s.v), b.v, a.v)};
}

FIGMENT_INLINE I32 operator+(I32 a, I32 b) { return {_mm512_add_epi32(a.v, b.v)}; }
FIGMENT_INLINE I32 operator-(I32 a, I32 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
FIGMENT_INLINE I32 operator*(I32 a, I32 b) { return {_mm512_mullo_epi32(a.v, b.v)}; }
FIGMENT_INLINE I32 operator&(I32 a, I32 b) { return {_mm512_and_si512(a.v, b.v)}; }
FIGMENT_INLINE I32 operator|(I32 a, I32 b) { return {_mm512_or_si512(a.v, b.v)}; }
FIGMENT_INLINE I32 operator^(I32 a, I32 b) { return {_mm512_xor_si512(a.v, b.v)}; }
FIGMENT_INLINE I32 operator~(I32 a) { return a ^ I32::broadcast(-1); }
FIGMENT_INLINE I32 shl(I32 a, int n) { return {_mm512_slli_epi32(a.v, unsigned(n))}; }
/// Shifts in zeros.
FIGMENT_INLINE I32 shr(I32 a, int n) { return {_mm512_srli_epi32(a.v, unsigned(n))}; }
/// Shifts in the sign.
FIGMENT_INLINE I32 sar(I32 a, int n) { return {_mm512_srai_epi32(a.v, unsigned(n))}; }
FIGMENT_INLINE I32 min(I32 a, I32 b) { return {_mm512_min_epi32(a.v, b.v)}; }
FIGMENT_INLINE I32 max(I32 a, I32 b) { return {_mm512_max_epi32(a.v, b.v)}; }
FIGMENT_INLINE Mask eq(I32 a, I32 b) { return {_mm512_cmpeq_epi32_mask(a.v, b.v)}; }
FIGMENT_INLINE Mask lt(I32 a, I32 b) { return {_mm512_cmplt_epi32_mask(a.v, b.v)}; }
FIGMENT_INLINE Mask gt(I32 a, I32 b) { return {_mm512_cmpgt_epi32_mask(a.v, b.v)}; }
FIGMENT_INLINE I32 blend(Mask m, I32 a, I32 b) { return {_mm512_mask_blend_epi32(m.v, b.v, a.v)}; }
/// 1 where true, 0 elsewhere.
FIGMENT_INLINE I32 toInt(Mask m) { return {_mm512_maskz_set1_epi32(m.v, 1)}; }

FIGMENT_INLINE F32 asFloat(I32 a) { return {_mm512_castsi512_ps(a.v)}; }
FIGMENT_INLINE I32 asInt(F32 a) { return {_mm512_castps_si512(a.v)}; }
FIGMENT_INLINE F32 toFloat(I32 a) { return {_mm512_cvtepi32_ps(a.v)}; }
/// Toward zero; only for values inside i32.
FIGMENT_INLINE I32 toIntTrunc(F32 a) { return {_mm512_cvttps_epi32(a.v)}; }
FIGMENT_INLINE F32 loadF16(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
FIGMENT_INLINE void storeF16(uint16_t* p, F32 a) {
  const F32 kept = blend(isNan(a), asFloat(I32::broadcast(0x7fc00000)), a);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(kept.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
/// base[index] for each lane.
FIGMENT_INLINE F32 gather(const float* base, I32 index) {
  return {_mm512_i32gather_ps(index.v, base, 4)};
}

/// 64-bit products of the even lanes, unsigned: lanes (2i, 2i+1) hold a[2i] * b[2i].
FIGMENT_INLINE I32 mulWideEven(I32 a, I32 b) { return {_mm512_mul_epu32(a.v, b.v)}; }
/// Sums of 64-bit lanes.
FIGMENT_INLINE I32 addWide(I32 a, I32 b) { return {_mm512_add_epi64(a.v, b.v)}; }
/// Moves each odd lane to the even lane below it; the odd lanes become zero.
FIGMENT_INLINE I32 oddToEven(I32 a) { return {_mm512_srli_epi64(a.v, 32)}; }
FIGMENT_INLINE I32 evenToOdd(I32 a) { return {_mm512_slli_epi64(a.v, 32)}; }
/// Even lanes of a, odd lanes of b.
FIGMENT_INLINE I32 blendEvenOdd(I32 a, I32 b) {
  return {_mm512_mask_blend_epi32(0xaaaa, a.v, b.v)};
}
FIGMENT_INLINE I32 xor3(I32 a, I32 b, I32 c) {
  return {_mm512_ternarylogic_epi32(a.v, b.v, c.v, 0x96)};
}
/// Stores the upper halves of the lanes of a, then those of b.
FIGMENT_INLINE void storeHigh16(uint16_t* p, I32 a, I32 b) {
  const __m512i odd = _mm512_setr_epi32(0x00030001, 0x00070005, 0x000b0009, 0x000f000d, 0x00130011,
                                        0x00170015, 0x001b0019, 0x001f001d, 0x00230021, 0x00270025,
                                        0x002b0029, 0x002f002d, 0x00330031, 0x00370035, 0x003b0039,
                                        0x003f003d);  // 16-bit numbers 1, 3, 5 … of both
  _mm512_storeu_si512(p, _mm512_permutex2var_epi16(a.v, odd, b.v));
}
/// The even lanes of a, then those of b.
FIGMENT_INLINE F32 evenLanes(F32 a, F32 b) {
  const __m512i lanes =
      _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  return {_mm512_permutex2var_ps(a.v, lanes, b.v)};
}
/// The odd lanes of a, then those of b.
FIGMENT_INLINE F32 oddLanes(F32 a, F32 b) {
  const __m512i lanes =
      _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  return {_mm512_permutex2var_ps(a.v, lanes, b.v)};
}
/// In every group of four lanes: a0 b0 a1 b1.
FIGMENT_INLINE F32 interleaveLow(F32 a, F32 b) { return {_mm512_unpacklo_ps(a.v, b.v)}; }
/// In every group of four lanes: a2 b2 a3 b3.
FIGMENT_INLINE F32 interleaveHigh(F32 a, F32 b) { return {_mm512_unpackhi_ps(a.v, b.v)}; }

FIGMENT_INLINE F64 operator+(F64 a, F64 b) { return {_mm512_add_pd(a.v, b.v)}; }
FIGMENT_INLINE F64 operator-(F64 a, F64 b) { return {_mm512_sub_pd(a.v, b.v)}; }
FIGMENT_INLINE F64 operator*(F64 a, F64 b) { return {_mm512_mul_pd(a.v, b.v)}; }
FIGMENT_INLINE F64 fma(F64 a, F64 b, F64 c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
FIGMENT_INLINE F64 widenLow(F32 a) { return {_mm512_cvtps_pd(_mm512_castps512_ps256(a.v))}; }
FIGMENT_INLINE F64 widenHigh(F32 a) { return {_mm512_cvtps_pd(_mm512_extractf32x8_ps(a.v, 1))}; }
/// Rounds both halves to f32: the opposite of widenLow and widenHigh.
FIGMENT_INLINE F32 narrow(F64 low, F64 high) {
  return {_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low.v)),
                             _mm512_cvtpd_ps(high.v), 1)};
}

/// Sums neighbours at distance 8, 4, 2, 1, in this order.
FIGMENT_INLINE float reduceAdd(F32 a) {
  const __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  c = _mm_add_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
FIGMENT_INLINE double reduceAdd(F64 a) {
  const __m256d b = _mm256_add_pd(_mm512_castpd512_pd256(a.v), _mm512_extractf64x4_pd(a.v, 1));
  const __m128d c = _mm_add_pd(_mm256_castpd256_pd128(b), _mm256_extractf128_pd(b, 1));
  return _mm_cvtsd_f64(_mm_add_sd(c, _mm_unpackhi_pd(c, c)));
}
FIGMENT_INLINE float reduceMax(F32 a) { return _mm512_reduce_max_ps(a.v); }
FIGMENT_INLINE float reduceMin(F32 a) { return _mm512_reduce_min_ps(a.v); }
/// Orders streamed stores before what follows.
FIGMENT_INLINE void streamFence() { _mm_sfence(); }

}  // namespace figment::avx512
