#include "instructions.h"

#include "block.h"
#include "kernels/simd/half.h"

namespace figment::cuda::emulator {
namespace {

float element(bool half, uint32_t word, int which) {
  const auto bits = uint16_t(which ? word >> 16 : word);
  return half ? fromBits(widenF16(bits)) : fromBits(uint32_t(bits) << 16);
}

/// These instructions are of whole warps.
void needAll(uint32_t members) {
  if (members != 0xffffffffu) refuse("an operation of a whole warp lacks lanes");
}

struct Product {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
  bool half;
};

/// Gathers the factors of all lanes into plain matrices, multiplies, and hands the sums back.
template <int depth, class Element>
void multiply(void* const* lanes, Element elementOf) {
  float a[16][depth], b[depth][8];
  for (int lane = 0; lane < 32; lane++) elementOf(*static_cast<Product*>(lanes[lane]), lane, a, b);
  for (int lane = 0; lane < 32; lane++) {
    auto& own = *static_cast<Product*>(lanes[lane]);
    for (int i = 0; i < 4; i++) {
      const int row = lane / 4 + (i >= 2 ? 8 : 0), column = 2 * (lane % 4) + i % 2;
      float sum = 0;
      for (int k = 0; k < depth; k++) sum += a[row][k] * b[k][column];
      own.d[i] += sum;
    }
  }
}

struct Matrices {
  uint32_t* words;
  uint4 row;
};

template <bool transposed>
void distribute(void* const* lanes, uint32_t members) {
  needAll(members);
  for (int lane = 0; lane < 32; lane++) {
    for (int m = 0; m < 4; m++) {
      uint32_t word = 0;
      for (int half = 0; half < 2; half++) {
        const int x = lane / 4, y = 2 * (lane % 4) + half;
        const int row = transposed ? y : x, column = transposed ? x : y;
        uint16_t elements[8];
        std::memcpy(elements, &static_cast<Matrices*>(lanes[8 * m + row])->row, sizeof(elements));
        word |= uint32_t(elements[column]) << (16 * half);
      }
      static_cast<Matrices*>(lanes[lane])->words[m] = word;
    }
  }
}

}  // namespace

void mma16816(bool half, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  Product mine = {d, a, b, half};
  warpOperation(
      0xffffffffu, "mma.m16n8k16",
      [](void* const* lanes, uint32_t members) {
        needAll(members);
        multiply<16>(lanes, [](const Product& own, int lane, float(&a)[16][16], float(&b)[16][8]) {
          for (int half = 0; half < 2; half++) {
            for (int i = 0; i < 4; i++)
              a[lane / 4 + (i % 2) * 8][2 * (lane % 4) + half + (i / 2) * 8] =
                  element(own.half, own.a[i], half);
            for (int i = 0; i < 2; i++)
              b[2 * (lane % 4) + half + i * 8][lane / 4] = element(own.half, own.b[i], half);
          }
        });
      },
      &mine);
}

void mmaTf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  Product mine = {d, a, b, false};
  warpOperation(
      0xffffffffu, "mma.m16n8k8.tf32",
      [](void* const* lanes, uint32_t members) {
        needAll(members);
        multiply<8>(lanes, [](const Product& own, int lane, float(&a)[16][8], float(&b)[8][8]) {
          // The hardware ignores the low 13 bits.
          const auto factor = [](uint32_t word) { return fromBits(word & 0xffffe000u); };
          for (int i = 0; i < 4; i++)
            a[lane / 4 + (i % 2) * 8][lane % 4 + (i / 2) * 4] = factor(own.a[i]);
          for (int i = 0; i < 2; i++) b[lane % 4 + i * 4][lane / 4] = factor(own.b[i]);
        });
      },
      &mine);
}

uint32_t roundTf32(float x) {
  const uint32_t bits = toBits(x);
  if ((bits & 0x7f800000u) == 0x7f800000u) return bits;
  return (bits + 0x1000u) & 0xffffe000u;
}

void loadMatrices(uint32_t (&words)[4], const uint4& row, bool transposed) {
  Matrices mine = {words, row};
  warpOperation(0xffffffffu, transposed ? "ldmatrix.trans" : "ldmatrix",
                transposed ? distribute<true> : distribute<false>, &mine);
}

void beginCopy(std::byte* to, const void* data, uint32_t bytes) {
  Block::current().beginCopy(to, data, bytes);
}
void commitCopies() { Block::current().commitCopies(); }
void waitForCopies(int groups) { Block::current().waitForCopies(uint32_t(groups)); }

}  // namespace figment::cuda::emulator
