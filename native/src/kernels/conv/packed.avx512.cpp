// The packed convolutions for avx512.
#include "../params/conv2d.generated.h"
#include "../params/conv2dInputGrad.generated.h"
#include "kernels/conv/implicit.inl.h"
#include "kernels/conv/weight_grad.inl.h"

namespace figment::FIGMENT_ISA::conv {
namespace {

// Constexpr, so that registering them runs no instruction that the machine may lack.
constexpr Variant forward{"conv2d",
                          "avx512-implicit",
                          Isa::avx512,
                          implicitSupports<Conv2dParams>,
                          implicitScratch<Conv2dParams>,
                          implicitRun<Conv2dParams>};
const RegisterVariant forwardRegistrar{forward};
constexpr Variant inputGrad{"conv2dInputGrad",
                            "avx512-implicit",
                            Isa::avx512,
                            implicitSupports<Conv2dInputGradParams>,
                            implicitScratch<Conv2dInputGradParams>,
                            implicitRun<Conv2dInputGradParams>};
const RegisterVariant inputGradRegistrar{inputGrad};
constexpr Variant weightGrad{"conv2dWeightGrad", "avx512-outer",    Isa::avx512,
                             weightGradSupports, weightGradScratch, weightGradRun};
const RegisterVariant weightGradRegistrar{weightGrad};

}  // namespace
}  // namespace figment::FIGMENT_ISA::conv
