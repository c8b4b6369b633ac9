// The CPU behind the backend ABI. Linked into the addon; nothing is opened at run time.
#pragma once

#include "figment/backend.h"

namespace figment {

const FigmentBackend& cpuBackend();

}  // namespace figment
