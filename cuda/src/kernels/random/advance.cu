// The next state of a random stream.
#include "../../device/launch.h"
#include "../../device/philox.h"
#include "advance.h"

namespace figment::cuda {
namespace {

FIGMENT_KERNEL(32)
advanceKernel(Global<const int32_t> state, Global<int32_t> next, int64_t elements) {
  if (threadIdx.x == 0) writeAdvanced(readStream(state), elements, next);
}

}  // namespace

void advanceStream(Launcher& launcher, const Operand& state, const Operand& next,
                   int64_t elements) {
  launch<advanceKernel>(launcher, {}, 32, 0, viewOf<const int32_t>(state), viewOf<int32_t>(next),
                        elements);
}

}  // namespace figment::cuda
