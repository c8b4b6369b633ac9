// Copies in pieces as wide as addresses allow: the types that pieces are moved as.
#pragma once

#include "kernels/kernel.h"
#include "memory.h"

namespace figment::cuda {

/// The widest piece, of up to 16 bytes, that all these addresses and lengths are multiples of.
template <class... Bytes>
int unitOf(Bytes... multiples) {
  const uint64_t all = (uint64_t(16) | ... | uint64_t(multiples));
  return int(all & (~all + 1));
}
inline uint64_t addressOf(const Operand& operand) {
  return uint64_t(reinterpret_cast<uintptr_t>(operand.data));
}
/// An operand's memory as pieces of sizeof(Unit), of which it is a whole number.
template <class Unit>
Global<Unit> unitsOf(const Operand& operand) {
  return Global<Unit>(
      static_cast<Unit*>(operand.data),
      operand.elements() * int64_t(formatBytes(operand.format)) / int64_t(sizeof(Unit)));
}

/// Calls `run` with a value of the type of so many bytes.
template <class Run>
void byUnit(int bytes, Run&& run) {
  switch (bytes) {
    case 1:
      return run(uint8_t{});
    case 2:
      return run(uint16_t{});
    case 4:
      return run(uint32_t{});
    case 8:
      return run(uint2{});
    default:
      return run(uint4{});
  }
}

}  // namespace figment::cuda
