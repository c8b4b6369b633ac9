// AVX2 registers behind the names of vec.h: 8 lanes, masks as all-ones lanes. Include vec.h.
#pragma once

#include <immintrin.h>

namespace figment::avx2 {

struct Mask {
  __m256 v;
};
FIGMENT_INLINE Mask operator&(Mask a, Mask b) { return {_mm256_and_ps(a.v, b.v)}; }
FIGMENT_INLINE Mask operator|(Mask a, Mask b) { return {_mm256_or_ps(a.v, b.v)}; }
FIGMENT_INLINE Mask operator~(Mask a) {
  return {_mm256_xor_ps(a.v, _mm256_castsi256_ps(_mm256_set1_epi32(-1)))};
}
FIGMENT_INLINE bool any(Mask a) { return _mm256_movemask_ps(a.v) != 0; }
FIGMENT_INLINE bool all(Mask a) { return _mm256_movemask_ps(a.v) == 0xff; }
/// All ones in the first `count` lanes.
FIGMENT_INLINE __m256i firstLanes(int count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

struct F32 {
  static constexpr int kLanes = 8;
  __m256 v;
  static FIGMENT_INLINE F32 zero() { return {_mm256_setzero_ps()}; }
  static FIGMENT_INLINE F32 broadcast(float x) { return {_mm256_set1_ps(x)}; }
  static FIGMENT_INLINE F32 load(const float* p) { return {_mm256_loadu_ps(p)}; }
  /// The first `count` (0 .. kLanes) elements, zero in the other lanes; touches no memory beyond.
  static FIGMENT_INLINE F32 loadPartial(const float* p, int count) {
    return {_mm256_maskload_ps(p, firstLanes(count))};
  }
  FIGMENT_INLINE void store(float* p) const { _mm256_storeu_ps(p, v); }
  /// Not a masked store, which takes AMD's processors some twenty cycles.
  FIGMENT_INLINE void storePartial(float* p, int count) const {
    if (count == kLanes) return store(p);
    __m128 rest = _mm256_castps256_ps128(v);
    if (count & 4) {
      _mm_storeu_ps(p, rest);
      rest = _mm256_extractf128_ps(v, 1);
      p += 4;
    }
    if (count & 2) {
      _mm_storel_pi(reinterpret_cast<__m64*>(p), rest);
      rest = _mm_movehl_ps(rest, rest);
      p += 2;
    }
    if (count & 1) _mm_store_ss(p, rest);
  }
  /// Past the caches; p must be aligned to the register.
  FIGMENT_INLINE void stream(float* p) const { _mm256_stream_ps(p, v); }
  /// Keeps a loaded vector in its register, where the compiler would read memory at each use.
  FIGMENT_INLINE void hold() { asm("" : "+x"(v)); }
};

struct I32 {
  static constexpr int kLanes = 8;
  __m256i v;
  static FIGMENT_INLINE I32 zero() { return {_mm256_setzero_si256()}; }
  static FIGMENT_INLINE I32 broadcast(int32_t x) { return {_mm256_set1_epi32(x)}; }
  /// The same number in every 64-bit lane.
  static FIGMENT_INLINE I32 broadcastWide(uint64_t x) { return {_mm256_set1_epi64x(int64_t(x))}; }
  static FIGMENT_INLINE I32 iota() { return {_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)}; }
  static FIGMENT_INLINE I32 load(const int32_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
  }
  static FIGMENT_INLINE I32 loadPartial(const int32_t* p, int count) {
    return {_mm256_maskload_epi32(p, firstLanes(count))};
  }
  static FIGMENT_INLINE I32 loadU16(const uint16_t* p) {
    return {_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
  }
  /// The first `count` (0 .. kLanes) of loadU16, zero in the other lanes.
  static FIGMENT_INLINE I32 loadU16Partial(const uint16_t* p, int count) {
    uint16_t staged[kLanes] = {};
    __builtin_memcpy(staged, p, size_t(count) * sizeof *p);
    return loadU16(staged);
  }
  /// Pairs of 16-bit numbers: the first `count` (0 .. 2 kLanes) numbers, zero in place of others.
  static FIGMENT_INLINE I32 loadPairs(const uint16_t* p, int count) {
    I32 pairs = zero();
    __builtin_memcpy(&pairs.v, p, size_t(count) * sizeof *p);
    return pairs;
  }
  /// Groups of four lanes, each from memory `stepBytes` behind the one before.
  static FIGMENT_INLINE I32 loadQuads(const void* p, int64_t stepBytes) {
    const auto* at = static_cast<const std::byte*>(p);
    const __m128i second = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at + stepBytes));
    return {_mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at))), second, 1)};
  }
  static FIGMENT_INLINE I32 loadU8(const uint8_t* p) {
    return {_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
  }
  static FIGMENT_INLINE I32 loadI8(const int8_t* p) {
    return {_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
  }
  FIGMENT_INLINE void store(int32_t* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v);
  }
  FIGMENT_INLINE void storePartial(int32_t* p, int count) const {
    _mm256_maskstore_epi32(p, firstLanes(count), v);
  }
  FIGMENT_INLINE void storeLow16(uint16_t* p) const {
    const __m256i low = _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
  }
  FIGMENT_INLINE void storeLow8(uint8_t* p) const {
    const __m256i low = _mm256_and_si256(v, _mm256_set1_epi32(0xff));
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0x08);
    const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm_setzero_si128());
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), bytes);
  }
};

/// Half as many 64-bit lanes; for accumulation.
struct F64 {
  static constexpr int kLanes = 4;
  __m256d v;
  static FIGMENT_INLINE F64 zero() { return {_mm256_setzero_pd()}; }
  static FIGMENT_INLINE F64 broadcast(double x) { return {_mm256_set1_pd(x)}; }
  static FIGMENT_INLINE F64 load(const double* p) { return {_mm256_loadu_pd(p)}; }
  FIGMENT_INLINE void store(double* p) const { _mm256_storeu_pd(p, v); }
};

FIGMENT_INLINE F32 operator+(F32 a, F32 b) { return {_mm256_add_ps(a.v, b.v)}; }
FIGMENT_INLINE F32 operator-(F32 a, F32 b) { return {_mm256_sub_ps(a.v, b.v)}; }
FIGMENT_INLINE F32 operator*(F32 a, F32 b) { return {_mm256_mul_ps(a.v, b.v)}; }
FIGMENT_INLINE F32 operator/(F32 a, F32 b) { return {_mm256_div_ps(a.v, b.v)}; }
FIGMENT_INLINE F32 fma(F32 a, F32 b, F32 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
FIGMENT_INLINE F32 fnma(F32 a, F32 b, F32 c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
FIGMENT_INLINE F32 min(F32 a, F32 b) { return {_mm256_min_ps(a.v, b.v)}; }
FIGMENT_INLINE F32 max(F32 a, F32 b) { return {_mm256_max_ps(a.v, b.v)}; }
FIGMENT_INLINE F32 sqrt(F32 a) { return {_mm256_sqrt_ps(a.v)}; }
FIGMENT_INLINE F32 floor(F32 a) {
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};
}
FIGMENT_INLINE F32 ceil(F32 a) {
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC)};
}
/// To the nearest integer, ties to even.
FIGMENT_INLINE F32 roundEven(F32 a) {
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
FIGMENT_INLINE Mask eq(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_EQ_OQ)}; }
FIGMENT_INLINE Mask ne(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_NEQ_UQ)}; }
FIGMENT_INLINE Mask lt(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
FIGMENT_INLINE Mask le(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ)}; }
FIGMENT_INLINE Mask gt(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)}; }
FIGMENT_INLINE Mask ge(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GE_OQ)}; }
FIGMENT_INLINE Mask isNan(F32 a) { return {_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)}; }
FIGMENT_INLINE F32 blend(Mask m, F32 a, F32 b) { return {_mm256_blendv_ps(b.v, a.v, m.v)}; }

/// a in the lanes where the sign bit of s is set, b elsewhere.
FIGMENT_INLINE F32 blendBySign(I32 s, F32 a, F32 b) {
  return {_mm256_blendv_ps(b.v, a.v, _mm256_castsi256_ps(s.v))};
}

FIGMENT_INLINE I32 operator+(I32 a, I32 b) { return {_mm256_add_epi32(a.v, b.v)}; }
FIGMENT_INLINE I32 operator-(I32 a, I32 b) { return {_mm256_sub_epi32(a.v, b.v)}; }
FIGMENT_INLINE I32 operator*(I32 a, I32 b) { return {_mm256_mullo_epi32(a.v, b.v)}; }
FIGMENT_INLINE I32 operator&(I32 a, I32 b) { return {_mm256_and_si256(a.v, b.v)}; }
FIGMENT_INLINE I32 operator|(I32 a, I32 b) { return {_mm256_or_si256(a.v, b.v)}; }
FIGMENT_INLINE I32 operator^(I32 a, I32 b) { return {_mm256_xor_si256(a.v, b.v)}; }
FIGMENT_INLINE I32 operator~(I32 a) { return a ^ I32::broadcast(-1); }
FIGMENT_INLINE I32 shl(I32 a, int n) { return {_mm256_slli_epi32(a.v, n)}; }
/// Shifts in zeros.
FIGMENT_INLINE I32 shr(I32 a, int n) { return {_mm256_srli_epi32(a.v, n)}; }
/// Shifts in the sign.
FIGMENT_INLINE I32 sar(I32 a, int n) { return {_mm256_srai_epi32(a.v, n)}; }
FIGMENT_INLINE I32 min(I32 a, I32 b) { return {_mm256_min_epi32(a.v, b.v)}; }
FIGMENT_INLINE I32 max(I32 a, I32 b) { return {_mm256_max_epi32(a.v, b.v)}; }
FIGMENT_INLINE Mask eq(I32 a, I32 b) { return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(a.v, b.v))}; }
FIGMENT_INLINE Mask gt(I32 a, I32 b) { return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(a.v, b.v))}; }
FIGMENT_INLINE Mask lt(I32 a, I32 b) { return gt(b, a); }
FIGMENT_INLINE I32 blend(Mask m, I32 a, I32 b) {
  return {_mm256_blendv_epi8(b.v, a.v, _mm256_castps_si256(m.v))};
}
/// 1 where true, 0 elsewhere.
FIGMENT_INLINE I32 toInt(Mask m) { return {_mm256_srli_epi32(_mm256_castps_si256(m.v), 31)}; }

FIGMENT_INLINE F32 asFloat(I32 a) { return {_mm256_castsi256_ps(a.v)}; }
FIGMENT_INLINE I32 asInt(F32 a) { return {_mm256_castps_si256(a.v)}; }
FIGMENT_INLINE F32 toFloat(I32 a) { return {_mm256_cvtepi32_ps(a.v)}; }
/// Toward zero; only for values inside i32.
FIGMENT_INLINE I32 toIntTrunc(F32 a) { return {_mm256_cvttps_epi32(a.v)}; }
FIGMENT_INLINE F32 loadF16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
FIGMENT_INLINE void storeF16(uint16_t* p, F32 a) {
  const F32 kept = blend(isNan(a), asFloat(I32::broadcast(0x7fc00000)), a);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                   _mm256_cvtps_ph(kept.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
/// base[index] for each lane.
FIGMENT_INLINE F32 gather(const float* base, I32 index) {
  return {_mm256_i32gather_ps(base, index.v, 4)};
}

/// 64-bit products of the even lanes, unsigned: lanes (2i, 2i+1) hold a[2i] * b[2i].
FIGMENT_INLINE I32 mulWideEven(I32 a, I32 b) { return {_mm256_mul_epu32(a.v, b.v)}; }
/// Sums of 64-bit lanes.
FIGMENT_INLINE I32 addWide(I32 a, I32 b) { return {_mm256_add_epi64(a.v, b.v)}; }
/// Moves each odd lane to the even lane below it; the odd lanes become zero.
FIGMENT_INLINE I32 oddToEven(I32 a) { return {_mm256_srli_epi64(a.v, 32)}; }
FIGMENT_INLINE I32 evenToOdd(I32 a) { return {_mm256_slli_epi64(a.v, 32)}; }
/// Even lanes of a, odd lanes of b.
FIGMENT_INLINE I32 blendEvenOdd(I32 a, I32 b) { return {_mm256_blend_epi32(a.v, b.v, 0xaa)}; }
FIGMENT_INLINE I32 xor3(I32 a, I32 b, I32 c) { return a ^ b ^ c; }
/// Stores the upper halves of the lanes of a, then those of b.
FIGMENT_INLINE void storeHigh16(uint16_t* p, I32 a, I32 b) {
  shr(a, 16).storeLow16(p);
  shr(b, 16).storeLow16(p + I32::kLanes);
}
/// Puts the quarters of two vectors that a shuffle within halves has interleaved in order.
FIGMENT_INLINE F32 inOrder(__m256 mixed) {
  return {_mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), 0xd8))};
}
/// The even lanes of a, then those of b.
FIGMENT_INLINE F32 evenLanes(F32 a, F32 b) { return inOrder(_mm256_shuffle_ps(a.v, b.v, 0x88)); }
/// The odd lanes of a, then those of b.
FIGMENT_INLINE F32 oddLanes(F32 a, F32 b) { return inOrder(_mm256_shuffle_ps(a.v, b.v, 0xdd)); }
/// In every group of four lanes: a0 b0 a1 b1.
FIGMENT_INLINE F32 interleaveLow(F32 a, F32 b) { return {_mm256_unpacklo_ps(a.v, b.v)}; }
/// In every group of four lanes: a2 b2 a3 b3.
FIGMENT_INLINE F32 interleaveHigh(F32 a, F32 b) { return {_mm256_unpackhi_ps(a.v, b.v)}; }

FIGMENT_INLINE F64 operator+(F64 a, F64 b) { return {_mm256_add_pd(a.v, b.v)}; }
FIGMENT_INLINE F64 operator-(F64 a, F64 b) { return {_mm256_sub_pd(a.v, b.v)}; }
FIGMENT_INLINE F64 operator*(F64 a, F64 b) { return {_mm256_mul_pd(a.v, b.v)}; }
FIGMENT_INLINE F64 fma(F64 a, F64 b, F64 c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
FIGMENT_INLINE F64 widenLow(F32 a) { return {_mm256_cvtps_pd(_mm256_castps256_ps128(a.v))}; }
FIGMENT_INLINE F64 widenHigh(F32 a) { return {_mm256_cvtps_pd(_mm256_extractf128_ps(a.v, 1))}; }
/// Rounds both halves to f32: the opposite of widenLow and widenHigh.
FIGMENT_INLINE F32 narrow(F64 low, F64 high) {
  return {_mm256_set_m128(_mm256_cvtpd_ps(high.v), _mm256_cvtpd_ps(low.v))};
}

/// Sums neighbours at distance 4, 2, 1, in this order.
FIGMENT_INLINE float reduceAdd(F32 a) {
  __m128 c = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  c = _mm_add_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
FIGMENT_INLINE double reduceAdd(F64 a) {
  const __m128d c = _mm_add_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1));
  return _mm_cvtsd_f64(_mm_add_sd(c, _mm_unpackhi_pd(c, c)));
}
FIGMENT_INLINE float reduceMax(F32 a) {
  __m128 c = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  c = _mm_max_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}
FIGMENT_INLINE float reduceMin(F32 a) {
  __m128 c = _mm_min_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  c = _mm_min_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_min_ss(c, _mm_movehdup_ps(c)));
}
/// Orders streamed stores before what follows.
FIGMENT_INLINE void streamFence() { _mm_sfence(); }

}  // namespace figment::avx2
