// The plain kernels of softmax, its logarithm and their gradients, which take every call.
#pragma once

#include "kernels/kernel.h"

namespace figment::cuda {

void plainSoftmax(const OpCall& call, Context& context);
void plainLogSoftmax(const OpCall& call, Context& context);
void plainSoftmaxGrad(const OpCall& call, Context& context);
void plainLogSoftmaxGrad(const OpCall& call, Context& context);

}  // namespace figment::cuda
