// flash-mma on f16.
#include "flash_mma.h"

template void figment::cuda::runFlashMma<figment::cuda::F16>(const OpCall&, Launcher&);
