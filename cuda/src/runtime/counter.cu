// The number of a loop's iteration, where the loop's kernels read it.
#include "../device/launch.h"

namespace figment::cuda {
namespace {

FIGMENT_KERNEL(32) setCounterKernel(Global<int32_t> counter, int32_t value) {
  if (threadIdx.x == 0) counter[0] = value;
}

}  // namespace

void Launcher::setCounter(void* counter, int32_t value) {
  launch<setCounterKernel>(*this, {}, 32, 0, Global<int32_t>(static_cast<int32_t*>(counter), 1),
                           value);
}

}  // namespace figment::cuda
