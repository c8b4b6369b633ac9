// Opens backend plug-ins: shared libraries that export `figment_backend`.
#pragma once

#include <string>

#include "figment/backend.h"

namespace figment {

struct OpenedBackend {
  const FigmentBackend* api = nullptr;
  std::string reason;  ///< why there is none
};

/// Opens the library at an absolute path. It is never closed.
OpenedBackend openBackend(const std::string& path);

/// The CUDA plug-in: FIGMENT_CUDA=0 turns it off, FIGMENT_CUDA=/absolute/path names it, otherwise
/// it is looked for beside the addon. Costs one file look-up when it is not installed.
OpenedBackend openCudaBackend();

/// Keeps the addon's own library loaded for the life of the process: its threads outlive the worker
/// environment that may have loaded it.
void pinLibrary();

}  // namespace figment
