// Kernels that were written as PTX, loaded by the driver.
#pragma once

#include "ptx.h"

namespace figment::cuda::elementwise {

/// The kernel of a shape, to be started with cudaLaunchKernelExC; written and loaded at its first
/// use. Null where the driver takes none, or where `mayLoad` is false and this would be the first
/// use.
const void* loadedKernel(const Shape& shape, bool mayLoad);

}  // namespace figment::cuda::elementwise
