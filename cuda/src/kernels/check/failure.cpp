// The words for a number that is not finite.
#include "../../device/failure.h"

#include <cmath>
#include <cstring>

#include "kernels/kernel.h"
#include "kernels/params/checkFinite.generated.h"

namespace figment::cuda {
namespace {

/// The tail holds the inputs' names, each ended by a zero byte.
std::string nameOf(const OpCall& call, int tensor) {
  const auto* text = static_cast<const char*>(call.params) + sizeof(CheckFiniteParams);
  const auto* end = static_cast<const char*>(call.params) + call.paramBytes;
  for (int i = 0; text < end; i++) {
    const auto* zero = static_cast<const char*>(std::memchr(text, 0, size_t(end - text)));
    if (!zero) break;
    if (i == tensor) return std::string(text, zero);
    text = zero + 1;
  }
  return "value " + std::to_string(tensor);
}

FailureText describe(const OpCall& call, const DeviceFailure& failure) {
  const char* what = std::isnan(failure.value) ? "NaN"
                     : failure.value < 0       ? "-Infinity"
                                               : "Infinity";
  return {"ERR_FIGMENT_NONFINITE", nameOf(call, int(failure.operand)) + " is not finite: element " +
                                       std::to_string(failure.position) + " of " +
                                       std::to_string(call.in[failure.operand].elements()) +
                                       " is " + what};
}

const RegisterFailure words{"checkFinite", describe};

}  // namespace
}  // namespace figment::cuda
