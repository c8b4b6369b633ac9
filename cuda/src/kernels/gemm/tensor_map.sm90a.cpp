#include "tensor_map.h"

#include <cudaTypedefs.h>

#include <string>

#include "../../runtime/check.h"

namespace figment::cuda {
namespace {

/// A function of the driver, which the plug-in is not linked with.
template <class Function>
Function driverFunction(const char* name) {
  void* found = nullptr;
  cudaDriverEntryPointQueryResult status = cudaDriverEntryPointSymbolNotFound;
  check(cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, &status), name);
  if (status != cudaDriverEntryPointSuccess || found == nullptr)
    throw Error(code::kDevice, std::string(name) + ": the driver has no such function");
  return reinterpret_cast<Function>(found);
}

void check(CUresult result, const char* doing) {
  if (result != CUDA_SUCCESS)
    throw Error(code::kDevice, std::string(doing) + ": error " + std::to_string(int(result)));
}

CUtensorMapDataType typeOf(bool half) {
  return half ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
}

constexpr int64_t kElementBytes = 2;
constexpr int kBoxElements = 64;

/// The last pixel that starts a line of positions (a column of them), counted from the image's
/// last.
int64_t upperCorner(int64_t start, int64_t step, int64_t positions, int64_t size) {
  return start + (positions - 1) * step - (size - 1);
}
bool corner(int64_t at) { return at >= -128 && at <= 127; }
bool steps(int step) { return step >= 1 && step <= 8; }

}  // namespace

bool mappable(const void* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; }

CUtensorMap boxMap(const void* data, bool half, const int64_t (&size)[3],
                   const int64_t (&stride)[2], int boxJ, int boxK) {
  static const auto encode =
      driverFunction<PFN_cuTensorMapEncodeTiled_v12000>("cuTensorMapEncodeTiled");
  const cuuint64_t sizes[3] = {cuuint64_t(size[0]), cuuint64_t(size[1]), cuuint64_t(size[2])};
  const cuuint64_t strides[2] = {cuuint64_t(stride[0] * kElementBytes),
                                 cuuint64_t(stride[1] * kElementBytes)};
  const cuuint32_t box[3] = {kBoxElements, cuuint32_t(boxJ), cuuint32_t(boxK)};
  const cuuint32_t steps[3] = {1, 1, 1};
  CUtensorMap map;
  check(encode(&map, typeOf(half), 3, const_cast<void*>(data), sizes, strides, box, steps,
               CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
               CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
        "cuTensorMapEncodeTiled");
  return map;
}

bool mappable(const Pixels& p, int64_t offsetX, int64_t offsetY) {
  return steps(p.stepX) && steps(p.stepY) && corner(p.startX) && corner(p.startY) &&
         corner(upperCorner(p.startX, p.stepX, p.positionsX, p.width)) &&
         corner(upperCorner(p.startY, p.stepY, p.positionsY, p.height)) && offsetX < 256 &&
         offsetY < 256;
}

CUtensorMap pixelMap(const void* data, bool half, const Pixels& p, int pixelsAtOnce) {
  static const auto encode =
      driverFunction<PFN_cuTensorMapEncodeIm2col_v12000>("cuTensorMapEncodeIm2col");
  const cuuint64_t sizes[4] = {cuuint64_t(p.channels), cuuint64_t(p.width), cuuint64_t(p.height),
                               cuuint64_t(p.n)};
  const cuuint64_t pixel = cuuint64_t(p.channels * kElementBytes);
  const cuuint64_t strides[3] = {pixel, pixel * sizes[1], pixel * sizes[1] * sizes[2]};
  const int lower[2] = {p.startX, p.startY};
  const int upper[2] = {int(upperCorner(p.startX, p.stepX, p.positionsX, p.width)),
                        int(upperCorner(p.startY, p.stepY, p.positionsY, p.height))};
  const cuuint32_t steps[4] = {1, cuuint32_t(p.stepX), cuuint32_t(p.stepY), 1};
  CUtensorMap map;
  check(encode(&map, typeOf(half), 4, const_cast<void*>(data), sizes, strides, lower, upper,
               kBoxElements, cuuint32_t(pixelsAtOnce), steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
               CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
               CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
        "cuTensorMapEncodeIm2col");
  return map;
}

}  // namespace figment::cuda
