#include "hopper_units.h"

#include "block.h"
#include "shared.h"
#include "tensor_map.h"

namespace figment::cuda::emulator {
namespace {

Block& block() { return Block::current(); }

}  // namespace

void initBarrier(uint32_t barrier, uint32_t arrivals) {
  block().asynchronous().initBarrier(barrier, arrivals);
}
void publishBarriers() {
  block().asynchronous().publishBarriers();
  publishWrites();
}
void arriveAt(uint32_t barrier, uint32_t bytes) { block().asynchronous().arrive(barrier, bytes); }
void waitAt(uint32_t barrier, uint32_t parity) { block().asynchronous().wait(barrier, parity); }
void syncSome(int number, int threads) { block().waitForSome(number, uint32_t(threads)); }
void setRegisters(int registers) { block().setRegisters(uint32_t(registers)); }
void publishWrites() { block().asynchronous().publishWrites(); }

void storeZeros16(uint32_t address) {
  constexpr size_t kBytes = 16;
  const size_t offset = block().sharedOffset(address, kBytes, kBytes);
  std::byte* const at = block().sharedBytesAt(offset);
  constexpr std::byte kZeros[kBytes] = {};
  if (std::memcmp(at, kZeros, kBytes) == 0) return block().races().agree(offset, kBytes);
  block().note(at, kBytes, Touch::write);
  std::memcpy(at, kZeros, kBytes);
}

void copyBox(uint32_t to, const CUtensorMap& map, uint32_t barrier, const int (&at)[3]) {
  if (map.pixels) refuse("copies a box by a map of pixels");
  block().asynchronous().copy(to, map.swizzle, boxOf(map, at), barrier);
}
void copyPixels(uint32_t to, const CUtensorMap& map, uint32_t barrier, int c, int x, int y, int n,
                int offsetX, int offsetY) {
  if (!map.pixels) refuse("copies pixels by a map of boxes");
  block().asynchronous().copy(to, map.swizzle, pixelsOf(map, {c, x, y, n, offsetX, offsetY}),
                              barrier);
}

void beginProducts() { block().products().fence(); }
void multiply(const ProductKind& kind, float* sums, const uint32_t* held, uint64_t a, uint64_t b) {
  block().products().multiply(kind, sums, held, a, b);
}
void commitProducts() { block().products().commit(); }
void waitForProducts(int groups) { block().products().wait(uint32_t(groups)); }

}  // namespace figment::cuda::emulator
