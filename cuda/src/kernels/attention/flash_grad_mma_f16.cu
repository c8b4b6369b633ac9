// flash-mma of the derivative, on f16.
#include "flash_grad_mma.h"

template void figment::cuda::runFlashGradMma<figment::cuda::F16>(const OpCall&, Launcher&);
