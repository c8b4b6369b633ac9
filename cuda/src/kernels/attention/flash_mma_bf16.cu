// flash-mma and flash-mma-parts on bf16.
#include "flash_mma.h"

namespace figment::cuda {

template void runFlashMma<Bf16>(const OpCall&, Launcher&);
template void runFlashParts<Bf16>(const OpCall&, const Parts&, Launcher&);

}  // namespace figment::cuda
