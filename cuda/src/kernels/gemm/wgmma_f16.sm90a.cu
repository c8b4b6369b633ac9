#include "wgmma_launch.h"

namespace figment::cuda::wgmma {

template void launchTiles<F16>(Launcher&, bool, bool, int, const Maps&, const Work&);

}  // namespace figment::cuda::wgmma
