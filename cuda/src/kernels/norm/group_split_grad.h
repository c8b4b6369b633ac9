// Gradients of groupNorm and batchNorm in slabs of pixels, which any call of floats of at most 32
// bits can run on: where others turn when addresses are not made for them.
#pragma once

#include "kernels/kernel.h"

namespace figment::cuda {

size_t splitGroupNormGradScratch(const OpCall& call, int threads);
void splitGroupNormGrad(const OpCall& call, Context& context);
size_t splitBatchNormGradScratch(const OpCall& call, int threads);
void splitBatchNormGrad(const OpCall& call, Context& context);

}  // namespace figment::cuda
