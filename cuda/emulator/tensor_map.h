// What Hopper's copy engine does with a tensor map: which elements a copy brings, and where the
// swizzle puts them.
#pragma once

#include <cstddef>
#include <vector>

#include "runtime/cuda.h"

namespace figment::cuda::emulator {

/// Of the functions that the plug-in asks the driver for, null when there is none of this name.
void* driverFunction(const char* name);

/// The box at these coordinates of a map with three axes, zeros outside the tensor.
std::vector<std::byte> boxOf(const CUtensorMap& map, const int (&at)[3]);
/// Channels of consecutive pixels of an im2col map, each moved by the offsets.
struct PixelPlace {
  int channel, x, y, image, offsetX, offsetY;
};
std::vector<std::byte> pixelsOf(const CUtensorMap& map, const PixelPlace& at);

/// Where the byte that would lie at this address of shared memory lies.
constexpr uint32_t swizzled(uint32_t address, CUtensorMapSwizzle swizzle) {
  const uint32_t pieces = (1u << swizzle) - 1;
  return address ^ ((address >> 7 & pieces) << 4);
}

}  // namespace figment::cuda::emulator
