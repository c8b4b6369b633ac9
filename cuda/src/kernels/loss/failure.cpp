// The words for a label that is out of range.
#include "../../device/failure.h"

#include "kernels/kernel.h"
#include "kernels/params/crossEntropy.generated.h"
#include "kernels/params/crossEntropyGrad.generated.h"

namespace figment::cuda {
namespace {

template <class P>
FailureText describe(const OpCall& call, const DeviceFailure& failure) {
  return {"ERR_FIGMENT_INDEX", "crossEntropy: label " + std::to_string(int64_t(failure.value)) +
                                   " at row " + std::to_string(failure.position) +
                                   " is outside [0, " + std::to_string(call.as<P>().cols) + ")"};
}

const RegisterFailure forward{"crossEntropy", describe<CrossEntropyParams>};
const RegisterFailure backward{"crossEntropyGrad", describe<CrossEntropyGradParams>};

}  // namespace
}  // namespace figment::cuda
