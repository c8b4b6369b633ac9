// The emulated twins of src/device/hopper.h and hopper_held.h, which say what each does. They stand
// in the place of the instructions, so that kernels call them by the same names.
#pragma once

#include "hopper_units.h"

namespace figment::cuda::hopper {

inline void initBarrier(uint32_t barrier, uint32_t arrivals) {
  emulator::initBarrier(barrier, arrivals);
}
inline void publishBarriers() { emulator::publishBarriers(); }
inline void arriveExpecting(uint32_t barrier, uint32_t bytes) {
  emulator::arriveAt(barrier, bytes);
}
inline void arrive(uint32_t barrier) { emulator::arriveAt(barrier, 0); }
inline void waitFor(uint32_t barrier, uint32_t parity) { emulator::waitAt(barrier, parity); }
inline void syncThreads(int number, int threads) { emulator::syncSome(number, threads); }
template <int registers>
void giveRegisters() {
  emulator::setRegisters(registers);
}
template <int registers>
void takeRegisters() {
  emulator::setRegisters(registers);
}

inline void fetchMap(const CUtensorMap&) {}
inline void copyBox(uint32_t to, const CUtensorMap& map, uint32_t barrier, int i, int j, int k) {
  emulator::copyBox(to, map, barrier, {i, j, k});
}
inline void copyPixels(uint32_t to, const CUtensorMap& map, uint32_t barrier, int c, int x, int y,
                       int n, int offsetX, int offsetY) {
  emulator::copyPixels(to, map, barrier, c, x, y, n, offsetX, offsetY);
}

inline void beginProducts() { emulator::beginProducts(); }
inline void commitProducts() { emulator::commitProducts(); }
template <int groups>
void waitForProducts() {
  emulator::waitForProducts(groups);
}
// What keeps the compiler from moving things about.
template <int count>
void holdSums(float (&)[count]) {}
template <int steps>
void holdFactor(uint32_t (&)[steps][4]) {}

template <class T, bool acrossX, bool acrossY, int count>
void multiply(float (&d)[count], uint64_t x, uint64_t y) {
  emulator::multiply({FactorKind<T>::kHalf, 2 * count, acrossX, acrossY, true}, d, nullptr, x, y);
}
template <class T, int count>
void multiplyAlong(float (&d)[count], uint64_t x, uint64_t y, bool add) {
  emulator::multiply({FactorKind<T>::kHalf, 2 * count, false, false, add}, d, nullptr, x, y);
}
template <class T, int count>
void multiplyHeldAlong(float (&d)[count], const uint32_t (&a)[4], uint64_t y, bool add) {
  emulator::multiply({FactorKind<T>::kHalf, 2 * count, false, false, add}, d, a, 0, y);
}
template <class T, int count>
void multiplyHeld(float (&d)[count], const uint32_t (&a)[4], uint64_t y) {
  emulator::multiply({FactorKind<T>::kHalf, 2 * count, false, true, true}, d, a, 0, y);
}

inline void publishWrites() { emulator::publishWrites(); }
inline void storeZeros16(uint32_t address) { emulator::storeZeros16(address); }

}  // namespace figment::cuda::hopper
