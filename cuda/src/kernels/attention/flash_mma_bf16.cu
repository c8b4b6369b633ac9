// flash-mma on bf16.
#include "flash_mma.h"

template void figment::cuda::runFlashMma<figment::cuda::Bf16>(const OpCall&, Launcher&);
