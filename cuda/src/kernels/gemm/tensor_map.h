// Descriptions of tensors for Hopper's copy engine, made on the host for one launch. All are of
// 16-bit elements, and their boxes are 128 bytes wide and swizzled by as many.
#pragma once

#include <cuda.h>

#include <cstdint>

namespace figment::cuda {

/// Addresses that the copy engine takes.
bool mappable(const void* data);

/// A tensor of three axes, the innermost first, with the elements from one to the next along the
/// outer two; boxes are of 64 × boxJ × boxK. Throws Error when the driver refuses.
CUtensorMap boxMap(const void* data, bool half, const int64_t (&size)[3],
                   const int64_t (&stride)[2], int boxJ, int boxK);

/// Images [n, height, width, channels] of which a copy brings 64 channels of so many consecutive
/// pixels: those from (startX, startY) of an image on, stepX, stepY apart, as many in a line and
/// lines in an image as `positionsX` and `positionsY` say. Throws Error when the driver refuses.
struct Pixels {
  int64_t n, height, width, channels;
  int startX, startY, stepX, stepY;
  int64_t positionsX, positionsY;
};
/// Whether the copy engine can name all of it, with offsets up to `offsetX`, `offsetY`.
bool mappable(const Pixels& pixels, int64_t offsetX, int64_t offsetY);
CUtensorMap pixelMap(const void* data, bool half, const Pixels& pixels, int pixelsAtOnce);

}  // namespace figment::cuda
