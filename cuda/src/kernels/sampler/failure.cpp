// The words for a timestep outside the tables of addNoise.
#include "../../device/failure.h"

#include "kernels/kernel.h"
#include "kernels/params/addNoise.generated.h"

namespace figment::cuda {
namespace {

FailureText describe(const OpCall& call, const DeviceFailure& failure) {
  return {"ERR_FIGMENT_INDEX", "addNoise: timestep " + std::to_string(int32_t(failure.value)) +
                                   " of sample " + std::to_string(failure.position) +
                                   " is outside [0, " +
                                   std::to_string(call.as<AddNoiseParams>().steps) + ")"};
}
const RegisterFailure words{"addNoise", describe};

}  // namespace
}  // namespace figment::cuda
