// Range check of timesteps.
#include "timesteps.h"

namespace figment {

bool timestepsInRange(const int32_t* timesteps, int64_t n, int64_t steps, Context& context) {
  for (int64_t i = 0; i < n; i++) {
    if (timesteps[i] >= 0 && timesteps[i] < steps) continue;
    context.fail("ERR_FIGMENT_INDEX", "addNoise: timestep " + std::to_string(timesteps[i]) +
                                          " of sample " + std::to_string(i) + " is outside [0, " +
                                          std::to_string(steps) + ")");
    return false;
  }
  return true;
}

}  // namespace figment
