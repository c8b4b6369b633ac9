// What CUDA C++ has no words for: with half_bits.h the only inline PTX of kernels on more than one
// architecture, each piece with its emulated twin. Fragments are those of the PTX manual ("Matrix
// Fragments for mma.m16n8k16" and its neighbours).
#pragma once

#include "memory.h"
#include "number.h"

#ifdef FIGMENT_EMULATED
#include "../../emulator/instructions.h"
#endif

// Of kernels alone: host code has no shared memory, and nothing to run these on.
#ifdef FIGMENT_KERNELS

namespace figment::cuda {

/// The kind of 16-bit factors of a product, by element type.
template <class T>
struct FactorKind;
template <>
struct FactorKind<Bf16> {
  static constexpr bool kHalf = false;
};
template <>
struct FactorKind<F16> {
  static constexpr bool kHalf = true;
};

// --- Products of a warp (sm_80) ------------------------------------------------------------------
// d += a·b with d f32 of 16×8. Lane l holds, with g = l / 4 and t = l % 4:
//   d[0], d[1]: row g,     columns 2t, 2t + 1;    d[2], d[3]: row g + 8, the same columns
//   a[0]: row g,     k 2t, 2t + 1;  a[1]: row g + 8, the same;  a[2], a[3]: as these, k + 8
//   b[0]: column g, k 2t, 2t + 1;   b[1]: as it, k + 8
// with two elements in each word, the lower k in the lower half.

template <class T>
FIGMENT_DEVICE void mma16816(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef __CUDACC__
#if __CUDA_ARCH__ >= 800
  if constexpr (FactorKind<T>::kHalf)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
#else
  emulator::mma16816(FactorKind<T>::kHalf, d, a, b);
#endif
}

/// TF32: factors are f32 of which 10 bits of the fraction count (roundTf32). Lane l holds a[0]: row
/// g, k t; a[1]: row g + 8; a[2], a[3]: as these, k + 4; b[0]: column g, k t; b[1]: k + 4.
FIGMENT_DEVICE void mmaTf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#ifdef __CUDACC__
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
#else
  emulator::mmaTf32(d, a, b);
#endif
}
/// To nearest, ties away from zero, as a TF32 factor.
FIGMENT_DEVICE uint32_t roundTf32(float x) {
#ifdef __CUDACC__
  uint32_t rounded = 0;
#if __CUDA_ARCH__ >= 800
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(x));
#endif
  return rounded;
#else
  return emulator::roundTf32(x);
#endif
}

/// Four 8×8 matrices of 16-bit elements: lane l names row l % 8 of matrix l / 8 (16 bytes from
/// element `i` on), and gets of each matrix m, in word m, row l / 4's elements 2(l % 4), + 1. Or
/// 8×4 ones of 32-bit elements, of which it gets row l / 4's element l % 4.
template <class T>
FIGMENT_DEVICE void loadMatrices(uint32_t (&words)[4], const Shared<T>& from, int i) {
  static_assert(sizeof(T) == 2 || sizeof(T) == 4);
#ifdef __CUDACC__
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(from.address(i))
               : "memory");
#else
  emulator::loadMatrices(words, from.template load<uint4>(i), false);
#endif
}
/// The same, of the transposed matrices of 16-bit elements.
template <class T>
FIGMENT_DEVICE void loadMatricesTransposed(uint32_t (&words)[4], const Shared<T>& from, int i) {
  static_assert(sizeof(T) == 2);
#ifdef __CUDACC__
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(from.address(i))
               : "memory");
#else
  emulator::loadMatrices(words, from.template load<uint4>(i), true);
#endif
}

// --- Copies that the thread does not wait for (sm_80)
// ---------------------------------------------

/// Asks for the line of an element to be in L2 when it is read.
template <class T>
FIGMENT_DEVICE void fetchLine(const Global<const T>& from, int64_t i) {
  from.check(i, 1);
#ifdef __CUDACC__
  asm volatile("prefetch.global.L2 [%0];" ::"l"(from.address(i)));
#endif
}
/// 16 bytes from global to shared memory, or as many zeros when `there` is false. Both sides are
/// aligned to 16 bytes. Its source may not be waited for earlier than by waitForCopies.
template <class T>
FIGMENT_DEVICE void copyAsync16(const Shared<T>& to, int toIndex, const Global<const T>& from,
                                int64_t fromIndex, bool there = true) {
#ifdef __CUDACC__
#if __CUDA_ARCH__ >= 800
  const int bytes = there ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to.address(toIndex)),
               "l"(from.address(there ? fromIndex : 0)), "r"(bytes)
               : "memory");
#else
  uint4 value = {0, 0, 0, 0};
  if (there) value = from.template load<uint4>(fromIndex);
  to.template store<uint4>(toIndex, value);
#endif
#else
  uint4 value = {0, 0, 0, 0};
  if (there) value = from.template load<uint4>(fromIndex);
  emulator::copyAsync(to, toIndex, value);
#endif
}
/// The same for 4 bytes.
template <class T>
FIGMENT_DEVICE void copyAsync4(const Shared<T>& to, int toIndex, const Global<const T>& from,
                               int64_t fromIndex, bool there = true) {
#ifdef __CUDACC__
#if __CUDA_ARCH__ >= 800
  const int bytes = there ? 4 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to.address(toIndex)),
               "l"(from.address(there ? fromIndex : 0)), "r"(bytes)
               : "memory");
#else
  uint32_t value = 0;
  if (there) value = from.template load<uint32_t>(fromIndex);
  to.template store<uint32_t>(toIndex, value);
#endif
#else
  uint32_t value = 0;
  if (there) value = from.template load<uint32_t>(fromIndex);
  emulator::copyAsync(to, toIndex, value);
#endif
}
/// Ends a group of copies.
FIGMENT_DEVICE void commitCopies() {
#ifdef __CUDACC__
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
#else
  emulator::commitCopies();
#endif
}
/// Until at most `groups` of this thread's latest groups are under way. Other threads see the
/// copies after a barrier.
template <int groups>
FIGMENT_DEVICE void waitForCopies() {
#ifdef __CUDACC__
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
#endif
#else
  emulator::waitForCopies(groups);
#endif
}

// --- Arithmetic ----------------------------------------------------------------------------------

/// 2^x to about 2 ulp, with denormal results flushed.
FIGMENT_DEVICE float exp2Fast(float x) {
#ifdef __CUDACC__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return std::exp2(x);
#endif
}

/// 1 / x to 1 ulp, 0 for |x| > 2^126, with denormal x taken for 0.
FIGMENT_DEVICE float reciprocalFast(float x) {
#ifdef __CUDACC__
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return std::fabs(x) > 0x1p126f ? std::copysign(0.0f, x) : 1.0f / x;
#endif
}

/// Two 16-bit elements in one word, `low` in the lower half.
template <class T>
FIGMENT_DEVICE uint32_t packPair(float low, float high) {
#ifdef __CUDACC__
#if __CUDA_ARCH__ >= 800
  uint32_t word;
  if constexpr (FactorKind<T>::kHalf)
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  else
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
#else
  return uint32_t(narrow<T>(low).bits) | uint32_t(narrow<T>(high).bits) << 16;
#endif
#else
  return uint32_t(narrow<T>(low).bits) | uint32_t(narrow<T>(high).bits) << 16;
#endif
}

}  // namespace figment::cuda

#endif
