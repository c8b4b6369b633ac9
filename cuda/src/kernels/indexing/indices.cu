// Indices outside their axis.
#include "../../device/launch.h"
#include "../first.h"
#include "indices.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

FIGMENT_KERNEL(kThreads)
indicesKernel(Global<const int32_t> indices, int64_t count, int64_t axis, FailureSink failures) {
  reportFirst<kThreads>(count, 0, failures, [&](int64_t i, double& value) {
    const int32_t index = indices[i];
    value = double(index);
    return index < 0 || index >= axis;
  });
}

}  // namespace

void checkIndices(const OpCall& call, Launcher& launcher, int64_t count, int64_t axis) {
  launch<indicesKernel>(launcher, gridFor(launcher, count, kThreads), kThreads, 0,
                        viewOf<const int32_t>(call.in[1]), count, axis, launcher.failures());
}

}  // namespace figment::cuda
