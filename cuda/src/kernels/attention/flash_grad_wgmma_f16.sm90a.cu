// flash-wgmma of the derivative, on f16.
#include "flash_grad_wgmma.h"

template void figment::cuda::runFlashGradWgmma<figment::cuda::F16>(const OpCall&, Launcher&);
