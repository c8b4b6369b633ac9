// Hopper's own instructions, the only inline PTX of sm_90a: barriers that count bytes, the bulk
// tensor copy engine, and products of a warpgroup (four warps whose first has a number divisible by
// four). Include from *.sm90a.cu files only. Their emulated twins are in emulator/hopper.h.
#pragma once

#include "instructions.h"

#ifdef FIGMENT_EMULATED
#include "../../emulator/hopper.h"
#endif

namespace figment::cuda::hopper {

constexpr int kWarpgroup = 128;

/// The operand at this address of shared memory. Swizzled by 128 bytes; eight rows are 1024 bytes.
FIGMENT_DEVICE uint64_t operandAt(uint32_t address, uint32_t groupBytes) {
  return uint64_t((address & 0x3ffff) >> 4) | uint64_t(groupBytes >> 4) << 16 |
         uint64_t(1024 >> 4) << 32 | uint64_t(1) << 62;
}
/// What is added to an operand for the next 16 steps of k.
template <bool across>
constexpr uint64_t kOperandStep = (across ? 16 * 128 : 16 * 2) >> 4;

#ifdef __CUDACC__

// --- Barriers in shared memory -------------------------------------------------------------------
// A barrier is eight bytes of shared memory, named by its address. Its phases are counted from 0: a
// phase ends when all arrivals and all announced bytes are there. waitFor(barrier, phase % 2) waits
// for the end of that phase; with the parity of the phase before a barrier's first it returns at
// once.

FIGMENT_DEVICE void initBarrier(uint32_t barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
/// Makes initialised barriers known to the copy engine; a block barrier must follow.
FIGMENT_DEVICE void publishBarriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
/// Arrives, and announces bytes that copies will bring in this phase.
FIGMENT_DEVICE void arriveExpecting(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
FIGMENT_DEVICE void arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
FIGMENT_DEVICE bool ended(uint32_t barrier, uint32_t parity) {
  uint32_t done = 0;
  asm volatile(
      "{\n.reg .pred done;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\n"
      "selp.u32 %0, 1, 0, done;\n}"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done != 0;
}
/// With FIGMENT_WATCHDOG, a wait of seconds ends the kernel with an error.
FIGMENT_DEVICE void waitFor(uint32_t barrier, uint32_t parity) {
#ifdef FIGMENT_WATCHDOG
  const long long begin = clock64();
  while (!ended(barrier, parity))
    if (clock64() - begin > 2000000000ll) __trap();
#else
  while (!ended(barrier, parity)) {
  }
#endif
}
/// A barrier of some of the block's threads; number 0 is that of __syncthreads().
FIGMENT_DEVICE void syncThreads(int number, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(threads) : "memory");
}

/// How many registers each thread of this warpgroup has from now on; a multiple of 8.
template <int registers>
FIGMENT_DEVICE void giveRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}
template <int registers>
FIGMENT_DEVICE void takeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}

// --- The copy engine -----------------------------------------------------------------------------
// One thread starts a copy of a box into shared memory; its bytes, those outside the tensor too,
// which are zeros, count on the barrier. `map` is the address of a CUtensorMap among the kernel's
// parameters.

template <class Map>
FIGMENT_DEVICE void fetchMap(const Map& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(reinterpret_cast<uint64_t>(&map)) : "memory");
}
/// A box of a tensor with three axes, the innermost first.
template <class Map>
FIGMENT_DEVICE void copyBox(uint32_t to, const Map& map, uint32_t barrier, int i, int j, int k) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5}], [%2];" ::"r"(to),
      "l"(reinterpret_cast<uint64_t>(&map)), "r"(barrier), "r"(i), "r"(j), "r"(k)
      : "memory");
}
/// Channels from `c` on of consecutive pixels of images: from the one at (x, y) of image n on, as
/// the map's bounding box and steps order them, each moved by the offsets, which are not negative.
template <class Map>
FIGMENT_DEVICE void copyPixels(uint32_t to, const Map& map, uint32_t barrier, int c, int x, int y,
                               int n, int offsetX, int offsetY) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5, %6}], [%2], {%7, %8};" ::"r"(to),
      "l"(reinterpret_cast<uint64_t>(&map)), "r"(barrier), "r"(c), "r"(x), "r"(y), "r"(n),
      "h"(uint16_t(offsetX)), "h"(uint16_t(offsetY))
      : "memory");
}

// --- Products of a warpgroup ---------------------------------------------------------------------
// d += a·b with a of 64×16 and b of 16×columns, 16-bit elements in shared memory. Thread t of the
// warpgroup holds, with w = t / 32, g = t % 32 / 4 and q = t % 4, of every eight columns j:
//   d[4j], d[4j + 1]: row 16w + g, columns 8j + 2q, + 1;    d[4j + 2], d[4j + 3]: row 16w + g + 8
//
// A factor's tile is an array of rows of 128 bytes (64 elements) whose 16-byte pieces the copy
// engine has swizzled: it stores piece p of row r in place p ^ (r % 8). Tiles begin at multiples of
// 1024 bytes.
//   alongK: a row is 64 steps of k, of one row of a or one column of b.
//   across: a row is one step of k, of 64 rows of a (columns of b); more than 64 columns are in
//           arrays of `groupBytes` each.

/// Before the first product, and before one that reads registers that were written.
FIGMENT_DEVICE void beginProducts() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
/// Ends a group of products.
FIGMENT_DEVICE void commitProducts() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Until at most `groups` of the latest groups are under way.
template <int groups>
FIGMENT_DEVICE void waitForProducts() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(groups) : "memory");
}
/// Keeps the compiler from reading sums before this point.
template <int count>
FIGMENT_DEVICE void holdSums(float (&d)[count]) {
  FIGMENT_UNROLL
  for (int i = 0; i < count; i++) asm volatile("" : "+f"(d[i])::"memory");
}

// The operands of the instruction: its sums by name, and the same as C++ has them.
#define FIGMENT_NAMES_32                                  \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15" \
  ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define FIGMENT_NAMES_64                                             \
  FIGMENT_NAMES_32                                                   \
  ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47" \
  ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define FIGMENT_NAMES_80 \
  FIGMENT_NAMES_64       \
  ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79"
#define FIGMENT_NAMES_128                                                        \
  FIGMENT_NAMES_80                                                               \
  ",%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"             \
  ",%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111" \
  ",%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define FIGMENT_SUMS_4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define FIGMENT_SUMS_16(d, i)                                               \
  FIGMENT_SUMS_4(d, i), FIGMENT_SUMS_4(d, i + 4), FIGMENT_SUMS_4(d, i + 8), \
      FIGMENT_SUMS_4(d, i + 12)
#define FIGMENT_SUMS_32(d, i) FIGMENT_SUMS_16(d, i), FIGMENT_SUMS_16(d, i + 16)
#define FIGMENT_SUMS_64(d, i) FIGMENT_SUMS_32(d, i), FIGMENT_SUMS_32(d, i + 32)
#define FIGMENT_SUMS_80(d, i) FIGMENT_SUMS_64(d, i), FIGMENT_SUMS_16(d, i + 64)
#define FIGMENT_SUMS_128(d, i) FIGMENT_SUMS_64(d, i), FIGMENT_SUMS_64(d, i + 64)
// The numbers of the operands that follow the sums: a, b, and whether each is across.
#define FIGMENT_PRODUCT(columns, sums, type, a, b, acrossA, acrossB)                               \
  asm volatile(                                                                                    \
      "{\n.reg .pred add;\nsetp.ne.b32 add, 1, 0;\n"                                               \
      "wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." type "." type                        \
      " {" FIGMENT_NAMES_##sums "}, %" #a ", %" #b ", add, 1, 1, %" #acrossA ", %" #acrossB ";\n}" \
      : FIGMENT_SUMS_##sums(d, 0)                                                                  \
      : "l"(x), "l"(y), "n"(int(acrossX)), "n"(int(acrossY)))
#define FIGMENT_PRODUCTS(columns, sums, a, b, acrossA, acrossB)           \
  template <class T, bool acrossX, bool acrossY>                          \
  FIGMENT_DEVICE void multiply(float(&d)[sums], uint64_t x, uint64_t y) { \
    if constexpr (std::is_same_v<T, F16>)                                 \
      FIGMENT_PRODUCT(columns, sums, "f16", a, b, acrossA, acrossB);      \
    else                                                                  \
      FIGMENT_PRODUCT(columns, sums, "bf16", a, b, acrossA, acrossB);     \
  }
FIGMENT_PRODUCTS(64, 32, 32, 33, 34, 35)
FIGMENT_PRODUCTS(128, 64, 64, 65, 66, 67)
FIGMENT_PRODUCTS(160, 80, 80, 81, 82, 83)
FIGMENT_PRODUCTS(256, 128, 128, 129, 130, 131)
#undef FIGMENT_PRODUCTS
#undef FIGMENT_PRODUCT
#undef FIGMENT_SUMS_128
#undef FIGMENT_SUMS_80
#undef FIGMENT_SUMS_64
#undef FIGMENT_SUMS_32
#undef FIGMENT_SUMS_16
#undef FIGMENT_SUMS_4
#undef FIGMENT_NAMES_128
#undef FIGMENT_NAMES_80
#undef FIGMENT_NAMES_64
#undef FIGMENT_NAMES_32

#endif

}  // namespace figment::cuda::hopper
