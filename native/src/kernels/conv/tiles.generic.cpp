// The convolutions on tiles in plain C++.
#include "kernels/conv/tiles.inl.h"
#include "kernels/conv/weight_grad_tiles.inl.h"
#include "kernels/gemm/tiles_emulated.h"

namespace figment::FIGMENT_ISA::tiles {
namespace {

template <bool (*kTakes)(const OpCall&)>
int supports(const OpCall& call) {
  return kTakes(call) ? kOnRequest : -1;
}

const RegisterVariant forward{
    {"conv2d", "emulated-bf16", Isa::generic, supports<takesConvolution<Conv2dParams>>,
     convolutionScratch<Conv2dParams>, runConvolution<Conv2dParams, EmulatedTiles>}};
const RegisterVariant inputGrad{{"conv2dInputGrad", "emulated-bf16", Isa::generic,
                                 supports<takesConvolution<Conv2dInputGradParams>>,
                                 convolutionScratch<Conv2dInputGradParams>,
                                 runConvolution<Conv2dInputGradParams, EmulatedTiles>}};
const RegisterVariant weightGrad{{"conv2dWeightGrad", "emulated-bf16", Isa::generic,
                                  supports<takesWeightGradient>, weightGradientScratch,
                                  runWeightGradient<EmulatedTiles>}};

}  // namespace
}  // namespace figment::FIGMENT_ISA::tiles
