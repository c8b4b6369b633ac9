// FIGMENT_EVERYWHERE: small functions that kernels of GPUs compile too, so that both compute alike.
#pragma once

#include "kernel.h"

#ifdef __CUDACC__
#define FIGMENT_EVERYWHERE __host__ __device__ __forceinline__
#else
#define FIGMENT_EVERYWHERE FIGMENT_ALWAYS_INLINE
#endif
