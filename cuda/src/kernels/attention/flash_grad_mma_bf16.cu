// flash-mma of the derivative, on bf16.
#include "flash_grad_mma.h"

template void figment::cuda::runFlashGradMma<figment::cuda::Bf16>(const OpCall&, Launcher&);
