// The plain kernels of biasAct and its gradient, which take every call.
#pragma once

#include "kernels/kernel.h"

namespace figment::cuda {

void plainBiasAct(const OpCall& call, Context& context);
void plainBiasActGrad(const OpCall& call, Context& context);

}  // namespace figment::cuda
