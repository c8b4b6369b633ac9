// The plain kernels of normalisations and their gradients, which take every call: fast ones hand
// over to them what they cannot run.
#pragma once

#include "kernels/kernel.h"

namespace figment::cuda {

void plainGroupNorm(const OpCall& call, Context& context);
void plainLayerNorm(const OpCall& call, Context& context);
void plainBatchNorm(const OpCall& call, Context& context);
void plainRmsNorm(const OpCall& call, Context& context);
void plainGroupNormGrad(const OpCall& call, Context& context);
void plainLayerNormGrad(const OpCall& call, Context& context);
void plainBatchNormGrad(const OpCall& call, Context& context);
void plainRmsNormGrad(const OpCall& call, Context& context);

}  // namespace figment::cuda
