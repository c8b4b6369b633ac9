// The plain kernels of crossEntropy and its gradient, which take every call.
#pragma once

#include "kernels/kernel.h"

namespace figment::cuda {

void plainCrossEntropy(const OpCall& call, Context& context);
void plainCrossEntropyGrad(const OpCall& call, Context& context);

}  // namespace figment::cuda
