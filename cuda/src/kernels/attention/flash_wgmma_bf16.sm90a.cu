// flash-wgmma on bf16.
#include "flash_wgmma.h"

template void figment::cuda::runFlashWgmma<figment::cuda::Bf16>(const OpCall&, Launcher&);
