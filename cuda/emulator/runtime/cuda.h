// The driver's descriptions of tensors for Hopper's copy engine, as the plug-in makes them: what
// the encoders were given, which the emulated engine (../tensor_map.h) reads.
#pragma once

#include <cstdint>

using cuuint32_t = uint32_t;
using cuuint64_t = uint64_t;

enum CUresult { CUDA_SUCCESS = 0, CUDA_ERROR_INVALID_VALUE = 1, CUDA_ERROR_NOT_SUPPORTED = 801 };
enum CUtensorMapDataType { CU_TENSOR_MAP_DATA_TYPE_FLOAT16, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 };
enum CUtensorMapInterleave { CU_TENSOR_MAP_INTERLEAVE_NONE };
/// By the bytes of a row whose 16-byte pieces change places.
enum CUtensorMapSwizzle {
  CU_TENSOR_MAP_SWIZZLE_NONE,
  CU_TENSOR_MAP_SWIZZLE_32B,
  CU_TENSOR_MAP_SWIZZLE_64B,
  CU_TENSOR_MAP_SWIZZLE_128B
};
enum CUtensorMapL2promotion { CU_TENSOR_MAP_L2_PROMOTION_L2_256B };
enum CUtensorMapFloatOOBfill { CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE };

/// A map's axes, the innermost first.
struct alignas(64) CUtensorMap {
  static constexpr uint32_t kMostAxes = 4;

  const unsigned char* data;
  uint64_t sizes[kMostAxes];
  uint64_t strides[kMostAxes];  ///< in bytes
  uint32_t box[kMostAxes];      ///< of an im2col map: channels and pixels
  uint32_t steps[kMostAxes];
  int lower[2], upper[2];  ///< of an im2col map: the corners of its bounding box
  uint32_t rank;
  CUtensorMapSwizzle swizzle;
  bool pixels;  ///< an im2col map
};
