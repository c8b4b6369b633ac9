// Timesteps outside the tables of addNoise.
#include "../../device/launch.h"
#include "../first.h"
#include "kernels/params/addNoise.generated.h"
#include "timesteps.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;

FIGMENT_KERNEL(kThreads)
timestepsKernel(Global<const int32_t> timesteps, int64_t n, int64_t steps, FailureSink failures) {
  reportFirst<kThreads>(n, 0, failures, [&](int64_t i, double& value) {
    const int32_t t = timesteps[i];
    value = double(t);
    return t < 0 || t >= steps;
  });
}

}  // namespace

void checkTimesteps(const OpCall& call, Launcher& launcher) {
  const auto& p = call.as<AddNoiseParams>();
  launch<timestepsKernel>(launcher, gridFor(launcher, p.n, kThreads), kThreads, 0,
                          viewOf<const int32_t>(call.in[2]), p.n, p.steps, launcher.failures());
}

}  // namespace figment::cuda
