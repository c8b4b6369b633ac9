// The packed convolutions for generic.
#include "../params/conv2d.generated.h"
#include "../params/conv2dInputGrad.generated.h"
#include "kernels/conv/implicit.inl.h"
#include "kernels/conv/weight_grad.inl.h"

namespace figment::FIGMENT_ISA::conv {
namespace {

const RegisterVariant forward{{"conv2d", "generic-implicit", Isa::generic,
                               implicitSupports<Conv2dParams>, implicitScratch<Conv2dParams>,
                               implicitRun<Conv2dParams>}};
const RegisterVariant inputGrad{
    {"conv2dInputGrad", "generic-implicit", Isa::generic, implicitSupports<Conv2dInputGradParams>,
     implicitScratch<Conv2dInputGradParams>, implicitRun<Conv2dInputGradParams>}};
const RegisterVariant weightGrad{{"conv2dWeightGrad", "generic-outer", Isa::generic,
                                  weightGradSupports, weightGradScratch, weightGradRun}};

}  // namespace
}  // namespace figment::FIGMENT_ISA::conv
