#include "tensor_map.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "runtime/cudaTypedefs.h"

namespace figment::cuda::emulator {
namespace {

constexpr uint32_t kElementBytes = 2;
constexpr uint32_t kPieceBytes = 16;
constexpr uint32_t kMostBox = 256, kMostPixels = 1024, kMostStep = 8;

/// The widest row of a box.
uint32_t rowLimit(CUtensorMapSwizzle swizzle) {
  return swizzle == CU_TENSOR_MAP_SWIZZLE_NONE ? kMostBox * kElementBytes : 16u << swizzle;
}

/// What the driver asks of every map; notes what both kinds have.
bool takes(CUtensorMap& map, cuuint32_t rank, const void* data, const cuuint64_t* sizes,
           const cuuint64_t* strides, uint32_t rowElements, const cuuint32_t* steps,
           CUtensorMapSwizzle swizzle) {
  map = {};
  map.data = static_cast<const unsigned char*>(data);
  map.rank = rank;
  map.swizzle = swizzle;
  if (reinterpret_cast<uintptr_t>(data) % kPieceBytes != 0) return false;
  const uint32_t rowBytes = rowElements * kElementBytes;
  if (rowBytes == 0 || rowBytes % kPieceBytes != 0 || rowBytes > rowLimit(swizzle)) return false;
  for (uint32_t i = 0; i < rank; i++) {
    map.sizes[i] = sizes[i];
    map.strides[i] = i == 0 ? kElementBytes : strides[i - 1];
    map.steps[i] = steps[i];
    if (sizes[i] == 0 || sizes[i] > uint64_t{1} << 32 || steps[i] == 0 || steps[i] > kMostStep)
      return false;
    if (i > 0 && (map.strides[i] % kPieceBytes != 0 || map.strides[i] >= uint64_t{1} << 40))
      return false;
  }
  return true;
}

CUresult encodeTiled(CUtensorMap* map, CUtensorMapDataType, cuuint32_t rank, void* data,
                     const cuuint64_t* sizes, const cuuint64_t* strides, const cuuint32_t* box,
                     const cuuint32_t* steps, CUtensorMapInterleave, CUtensorMapSwizzle swizzle,
                     CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  if (rank != 3) return CUDA_ERROR_NOT_SUPPORTED;
  if (!takes(*map, rank, data, sizes, strides, box[0], steps, swizzle))
    return CUDA_ERROR_INVALID_VALUE;
  for (uint32_t i = 0; i < rank; i++) {
    if (box[i] == 0 || box[i] > kMostBox) return CUDA_ERROR_INVALID_VALUE;
    if (steps[i] != 1) return CUDA_ERROR_NOT_SUPPORTED;
    map->box[i] = box[i];
  }
  return CUDA_SUCCESS;
}

CUresult encodeIm2col(CUtensorMap* map, CUtensorMapDataType, cuuint32_t rank, void* data,
                      const cuuint64_t* sizes, const cuuint64_t* strides, const int* lower,
                      const int* upper, cuuint32_t channels, cuuint32_t pixels,
                      const cuuint32_t* steps, CUtensorMapInterleave, CUtensorMapSwizzle swizzle,
                      CUtensorMapL2promotion, CUtensorMapFloatOOBfill) {
  if (rank != 4) return CUDA_ERROR_NOT_SUPPORTED;
  if (!takes(*map, rank, data, sizes, strides, channels, steps, swizzle) || pixels == 0 ||
      pixels > kMostPixels)
    return CUDA_ERROR_INVALID_VALUE;
  map->pixels = true;
  map->box[0] = channels;
  map->box[1] = pixels;
  for (int i = 0; i < 2; i++) {
    const bool corners = lower[i] >= -128 && lower[i] <= 127 && upper[i] >= -128 && upper[i] <= 127;
    if (!corners) return CUDA_ERROR_INVALID_VALUE;
    map->lower[i] = lower[i];
    map->upper[i] = upper[i];
  }
  return CUDA_SUCCESS;
}

bool inside(const CUtensorMap& map, uint32_t axis, int64_t at) {
  return at >= 0 && uint64_t(at) < map.sizes[axis];
}

/// The innermost elements from `first` on, of a row that begins `offset` bytes into the tensor.
void copyRow(const CUtensorMap& map, int64_t offset, int first, std::byte* to) {
  const int64_t begin = std::max<int64_t>(0, -int64_t(first));
  const int64_t end = std::min<int64_t>(map.box[0], int64_t(map.sizes[0]) - first);
  if (begin < end)
    std::memcpy(to + begin * kElementBytes, map.data + offset + (first + begin) * kElementBytes,
                size_t(end - begin) * kElementBytes);
}

}  // namespace

void* driverFunction(const char* name) {
  if (std::string_view(name) == "cuTensorMapEncodeTiled")
    return reinterpret_cast<void*>(PFN_cuTensorMapEncodeTiled_v12000(encodeTiled));
  if (std::string_view(name) == "cuTensorMapEncodeIm2col")
    return reinterpret_cast<void*>(PFN_cuTensorMapEncodeIm2col_v12000(encodeIm2col));
  return nullptr;
}

std::vector<std::byte> boxOf(const CUtensorMap& map, const int (&at)[3]) {
  const size_t row = map.box[0] * kElementBytes;
  std::vector<std::byte> box(row * map.box[1] * map.box[2]);
  std::byte* to = box.data();
  for (uint32_t k = 0; k < map.box[2]; k++)
    for (uint32_t j = 0; j < map.box[1]; j++, to += row) {
      const int64_t y = int64_t(at[1]) + j, z = int64_t(at[2]) + k;
      if (inside(map, 1, y) && inside(map, 2, z))
        copyRow(map, y * int64_t(map.strides[1]) + z * int64_t(map.strides[2]), at[0], to);
    }
  return box;
}

std::vector<std::byte> pixelsOf(const CUtensorMap& map, const PixelPlace& at) {
  const size_t row = map.box[0] * kElementBytes;
  std::vector<std::byte> box(row * map.box[1]);
  // The last pixel of the bounding box along each axis.
  const int64_t lastX = int64_t(map.sizes[1]) - 1 + map.upper[0];
  const int64_t lastY = int64_t(map.sizes[2]) - 1 + map.upper[1];
  int64_t x = at.x, y = at.y, image = at.image;
  for (uint32_t pixel = 0; pixel < map.box[1]; pixel++) {
    const int64_t readX = x + at.offsetX, readY = y + at.offsetY;
    if (inside(map, 1, readX) && inside(map, 2, readY) && inside(map, 3, image))
      copyRow(map,
              readX * int64_t(map.strides[1]) + readY * int64_t(map.strides[2]) +
                  image * int64_t(map.strides[3]),
              at.channel, box.data() + pixel * row);
    x += map.steps[1];
    if (x <= lastX) continue;
    x = map.lower[0];
    y += map.steps[2];
    if (y <= lastY) continue;
    y = map.lower[1];
    image++;
  }
  return box;
}

}  // namespace figment::cuda::emulator
