// More of Hopper's products: those that begin their sums, and those whose left factor a warpgroup
// holds in registers, as attention needs them. Include from *.sm90a.cu files only.
#pragma once

#include "hopper.h"

#ifdef __CUDACC__

namespace figment::cuda::hopper {

/// Lets the copy engine and products see what this thread wrote to shared memory; a barrier of the
/// threads concerned must follow.
FIGMENT_DEVICE void publishWrites() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
/// Zeros at 16 bytes of shared memory.
FIGMENT_DEVICE void storeZeros16(uint32_t address) {
  asm volatile("st.shared.v4.b32 [%0], {%1, %1, %1, %1};" ::"r"(address), "r"(0) : "memory");
}
/// Keeps the compiler from reusing a factor's registers before this point.
template <int steps>
FIGMENT_DEVICE void holdFactor(uint32_t (&a)[steps][4]) {
  FIGMENT_UNROLL
  for (int i = 0; i < steps; i++)
    asm volatile("" : "+r"(a[i][0]), "+r"(a[i][1]), "+r"(a[i][2]), "+r"(a[i][3])::"memory");
}

#define FIGMENT_NAMES_20                                  \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15" \
  ",%16,%17,%18,%19"
#define FIGMENT_NAMES_32 \
  FIGMENT_NAMES_20       \
  ",%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define FIGMENT_NAMES_40 \
  FIGMENT_NAMES_32       \
  ",%32,%33,%34,%35,%36,%37,%38,%39"
#define FIGMENT_NAMES_64                                             \
  FIGMENT_NAMES_40                                                   \
  ",%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55" \
  ",%56,%57,%58,%59,%60,%61,%62,%63"
#define FIGMENT_NAMES_80 \
  FIGMENT_NAMES_64       \
  ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79"
#define FIGMENT_SUMS_4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define FIGMENT_SUMS_8(d, i) FIGMENT_SUMS_4(d, i), FIGMENT_SUMS_4(d, i + 4)
#define FIGMENT_SUMS_20(d, i) \
  FIGMENT_SUMS_8(d, i), FIGMENT_SUMS_8(d, i + 8), FIGMENT_SUMS_4(d, i + 16)
#define FIGMENT_SUMS_32(d, i) \
  FIGMENT_SUMS_20(d, i), FIGMENT_SUMS_8(d, i + 20), FIGMENT_SUMS_4(d, i + 28)
#define FIGMENT_SUMS_40(d, i) FIGMENT_SUMS_32(d, i), FIGMENT_SUMS_8(d, i + 32)
#define FIGMENT_SUMS_64(d, i) FIGMENT_SUMS_32(d, i), FIGMENT_SUMS_32(d, i + 32)
#define FIGMENT_SUMS_80(d, i) FIGMENT_SUMS_40(d, i), FIGMENT_SUMS_40(d, i + 40)

// d = a·b (or d + a·b) with both factors in shared memory, alongK. The numbers of the operands that
// follow the sums: a, b, whether to add.
#define FIGMENT_PRODUCT(columns, sums, type, a, b, adds)                             \
  asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %" #adds                        \
               ", 0;\n"                                                              \
               "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." type "." type \
               " {" FIGMENT_NAMES_##sums "}, %" #a ", %" #b ", add, 1, 1, 0, 0;\n}"  \
               : FIGMENT_SUMS_##sums(d, 0)                                           \
               : "l"(x), "l"(y), "r"(int(add)))
#define FIGMENT_PRODUCTS(columns, sums, a, b, adds)                                      \
  template <class T>                                                                     \
  FIGMENT_DEVICE void multiplyAlong(float(&d)[sums], uint64_t x, uint64_t y, bool add) { \
    if constexpr (std::is_same_v<T, F16>)                                                \
      FIGMENT_PRODUCT(columns, sums, "f16", a, b, adds);                                 \
    else                                                                                 \
      FIGMENT_PRODUCT(columns, sums, "bf16", a, b, adds);                                \
  }
FIGMENT_PRODUCTS(64, 32, 32, 33, 34)
FIGMENT_PRODUCTS(128, 64, 64, 65, 66)
#undef FIGMENT_PRODUCTS
#undef FIGMENT_PRODUCT

// The same with a held as `a` of mma16816, 16 rows to a warp.
#define FIGMENT_PRODUCT(columns, sums, type, a0, a1, a2, a3, b, adds)                     \
  asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %" #adds                             \
               ", 0;\n"                                                                   \
               "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." type "." type      \
               " {" FIGMENT_NAMES_##sums "}, {%" #a0 ",%" #a1 ",%" #a2 ",%" #a3 "}, %" #b \
                                         ", add, 1, 1, 0;\n}"                             \
               : FIGMENT_SUMS_##sums(d, 0)                                                \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(y), "r"(int(add)))
#define FIGMENT_PRODUCTS(columns, sums, a0, a1, a2, a3, b, adds)                            \
  template <class T>                                                                        \
  FIGMENT_DEVICE void multiplyHeldAlong(float(&d)[sums], const uint32_t(&a)[4], uint64_t y, \
                                        bool add) {                                         \
    if constexpr (std::is_same_v<T, F16>)                                                   \
      FIGMENT_PRODUCT(columns, sums, "f16", a0, a1, a2, a3, b, adds);                       \
    else                                                                                    \
      FIGMENT_PRODUCT(columns, sums, "bf16", a0, a1, a2, a3, b, adds);                      \
  }
FIGMENT_PRODUCTS(64, 32, 32, 33, 34, 35, 36, 37)
#undef FIGMENT_PRODUCTS
#undef FIGMENT_PRODUCT

// d += a·b with a held as `a` of mma16816, 16 rows to a warp, and b across in shared memory.
#define FIGMENT_PRODUCT(columns, sums, type, a0, a1, a2, a3, b)                  \
  asm volatile(                                                                  \
      "{\n.reg .pred add;\nsetp.ne.b32 add, 1, 0;\n"                             \
      "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." type "." type      \
      " {" FIGMENT_NAMES_##sums "}, {%" #a0 ",%" #a1 ",%" #a2 ",%" #a3 "}, %" #b \
                                ", add, 1, 1, 1;\n}"                             \
      : FIGMENT_SUMS_##sums(d, 0)                                                \
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(y))
#define FIGMENT_PRODUCTS(columns, sums, a0, a1, a2, a3, b)                               \
  template <class T>                                                                     \
  FIGMENT_DEVICE void multiplyHeld(float(&d)[sums], const uint32_t(&a)[4], uint64_t y) { \
    if constexpr (std::is_same_v<T, F16>)                                                \
      FIGMENT_PRODUCT(columns, sums, "f16", a0, a1, a2, a3, b);                          \
    else                                                                                 \
      FIGMENT_PRODUCT(columns, sums, "bf16", a0, a1, a2, a3, b);                         \
  }
FIGMENT_PRODUCTS(40, 20, 20, 21, 22, 23, 24)
FIGMENT_PRODUCTS(64, 32, 32, 33, 34, 35, 36)
FIGMENT_PRODUCTS(80, 40, 40, 41, 42, 43, 44)
FIGMENT_PRODUCTS(128, 64, 64, 65, 66, 67, 68)
FIGMENT_PRODUCTS(160, 80, 80, 81, 82, 83, 84)
#undef FIGMENT_PRODUCTS
#undef FIGMENT_PRODUCT
#undef FIGMENT_SUMS_80
#undef FIGMENT_SUMS_64
#undef FIGMENT_SUMS_40
#undef FIGMENT_SUMS_32
#undef FIGMENT_SUMS_20
#undef FIGMENT_SUMS_8
#undef FIGMENT_SUMS_4
#undef FIGMENT_NAMES_80
#undef FIGMENT_NAMES_64
#undef FIGMENT_NAMES_40
#undef FIGMENT_NAMES_32
#undef FIGMENT_NAMES_20

}  // namespace figment::cuda::hopper

#endif
