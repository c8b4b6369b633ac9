// Kernel libraries: operations and kernels from outside, through the C ABI of figment/kernels.h.
#pragma once

#include <string>
#include <vector>

namespace figment {

struct LoadedLibrary {
  std::string name;
  std::vector<std::string> ops;  ///< those that it has kernels for
};

/// Opens a library by absolute path, checks what it says about itself and registers its kernels.
/// Loading it again changes nothing. Never closes it. Throws Error(ERR_FIGMENT_LIBRARY) with the
/// reason; then nothing is registered.
LoadedLibrary loadKernelLibrary(const std::string& path);

}  // namespace figment
