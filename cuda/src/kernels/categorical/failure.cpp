// The words for a row that stands for no distribution.
#include "../../device/failure.h"

#include "kernels/kernel.h"

namespace figment::cuda {
namespace {

FailureText describe(const OpCall&, const DeviceFailure& failure) {
  return {"ERR_FIGMENT_VALUE", "categorical: row " + std::to_string(failure.position) +
                                   " of the logits has a NaN or +Inf, or is -Inf throughout"};
}
const RegisterFailure words{"randomCategorical", describe};

}  // namespace
}  // namespace figment::cuda
