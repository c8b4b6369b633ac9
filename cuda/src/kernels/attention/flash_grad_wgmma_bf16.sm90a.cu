// flash-wgmma of the derivative, on bf16.
#include "flash_grad_wgmma.h"

template void figment::cuda::runFlashGradWgmma<figment::cuda::Bf16>(const OpCall&, Launcher&);
