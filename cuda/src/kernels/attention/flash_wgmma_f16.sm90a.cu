// flash-wgmma on f16.
#include "flash_wgmma.h"

template void figment::cuda::runFlashWgmma<figment::cuda::F16>(const OpCall&, Launcher&);
