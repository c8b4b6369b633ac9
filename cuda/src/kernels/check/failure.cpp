// The words for a number that is not finite.
#include "../../device/failure.h"

#include <cmath>

#include "kernels/check/report.h"

namespace figment::cuda {
namespace {

FailureText describe(const OpCall& call, const DeviceFailure& failure) {
  const char* what = std::isnan(failure.value) ? "NaN"
                     : failure.value < 0       ? "-Infinity"
                                               : "Infinity";
  return {kNonFinite, notFiniteText(call, int(failure.operand), failure.position, what)};
}

const RegisterFailure words{"checkFinite", describe};

}  // namespace
}  // namespace figment::cuda
