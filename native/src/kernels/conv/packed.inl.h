// The packed convolutions as variants of the instruction set that the including file is compiled
// for.
#pragma once

#include "kernels/conv/implicit.inl.h"
#include "kernels/conv/weight_grad.inl.h"
#include "kernels/isa_name.h"

namespace figment::FIGMENT_ISA::conv {
namespace {

template <class P>
constexpr Variant implicitOf(const char* op) {
  return {op,
          FIGMENT_TEXT(FIGMENT_ISA) "-implicit",
          kVariantIsa,
          implicitSupports<P>,
          implicitScratch<P>,
          implicitRun<P>};
}
template <class P>
constexpr Packer packerOf(const Variant& variant) {
  return {variant.op, variant.name, implicitPacking<P>, implicitPack<P>};
}
constexpr Variant forward = implicitOf<Conv2dParams>("conv2d");
const RegisterVariant forwardRegistrar{forward};
constexpr Packer forwardPacker = packerOf<Conv2dParams>(forward);
const RegisterPacker forwardPackerRegistrar{forwardPacker};
constexpr Variant inputGrad = implicitOf<Conv2dInputGradParams>("conv2dInputGrad");
const RegisterVariant inputGradRegistrar{inputGrad};
constexpr Packer inputGradPacker = packerOf<Conv2dInputGradParams>(inputGrad);
const RegisterPacker inputGradPackerRegistrar{inputGradPacker};
constexpr Variant weightGrad{"conv2dWeightGrad", FIGMENT_TEXT(FIGMENT_ISA) "-outer",
                             kVariantIsa,        weightGradSupports,
                             weightGradScratch,  weightGradRun};
const RegisterVariant weightGradRegistrar{weightGrad};

}  // namespace
}  // namespace figment::FIGMENT_ISA::conv
