// flash-mma and flash-mma-parts on f16.
#include "flash_mma.h"

namespace figment::cuda {

template void runFlashMma<F16>(const OpCall&, Launcher&);
template void runFlashParts<F16>(const OpCall&, const Parts&, Launcher&);

}  // namespace figment::cuda
