// The convolutions on AMX tiles.
#include "kernels/conv/tiles.inl.h"
#include "kernels/conv/weight_grad_tiles.inl.h"
#include "kernels/gemm/tiles_amx.h"

namespace figment::FIGMENT_ISA::tiles {
namespace {

template <class P>
int supports(const OpCall& call) {
  if (!takesConvolution<P>(call)) return -1;
  return fillsConvolutionTiles(call.as<P>()) ? kPreferred : kPossible;
}

int supportsWeightGradient(const OpCall& call) {
  if (!takesWeightGradient(call)) return -1;
  return fillsConvolutionTiles(call.as<Conv2dWeightGradParams>()) ? kPreferred : kPossible;
}

// Constexpr, so that registering them runs no instruction that the machine may lack.
constexpr Variant forward{"conv2d",
                          "amx-bf16",
                          Isa::amx,
                          supports<Conv2dParams>,
                          convolutionScratch<Conv2dParams>,
                          runConvolution<Conv2dParams, HardwareTiles>};
const RegisterVariant forwardRegistrar{forward};
constexpr Variant inputGrad{"conv2dInputGrad",
                            "amx-bf16",
                            Isa::amx,
                            supports<Conv2dInputGradParams>,
                            convolutionScratch<Conv2dInputGradParams>,
                            runConvolution<Conv2dInputGradParams, HardwareTiles>};
const RegisterVariant inputGradRegistrar{inputGrad};
constexpr Variant weightGrad{"conv2dWeightGrad",
                             "amx-bf16",
                             Isa::amx,
                             supportsWeightGradient,
                             weightGradientScratch,
                             runWeightGradient<HardwareTiles>};
const RegisterVariant weightGradRegistrar{weightGrad};

}  // namespace
}  // namespace figment::FIGMENT_ISA::tiles
