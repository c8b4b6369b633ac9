// What the twins of Hopper's instructions (hopper.h) do, for the running thread.
#pragma once

#include <cstdint>

#include "runtime/cuda.h"

namespace figment::cuda::emulator {

/// What a product of a warpgroup is of.
struct ProductKind {
  bool half;  ///< f16, otherwise bf16
  int columns;
  bool acrossA, acrossB;
  bool add;
};

void initBarrier(uint32_t barrier, uint32_t arrivals);
void publishBarriers();
void arriveAt(uint32_t barrier, uint32_t bytes);
void waitAt(uint32_t barrier, uint32_t parity);
void syncSome(int number, int threads);
void setRegisters(int registers);
void publishWrites();
void storeZeros16(uint32_t address);
void copyBox(uint32_t to, const CUtensorMap& map, uint32_t barrier, const int (&at)[3]);
void copyPixels(uint32_t to, const CUtensorMap& map, uint32_t barrier, int c, int x, int y, int n,
                int offsetX, int offsetY);
void beginProducts();
/// `held` are the four words of a left factor in registers, null where descriptor `a` names it.
void multiply(const ProductKind& kind, float* sums, const uint32_t* held, uint64_t a, uint64_t b);
void commitProducts();
void waitForProducts(int groups);

}  // namespace figment::cuda::emulator
