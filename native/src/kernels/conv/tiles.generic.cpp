// The convolutions on tiles in plain C++.
#include "kernels/conv/split.inl.h"
#include "kernels/conv/split_weight_grad.inl.h"
#include "kernels/conv/tiles.inl.h"
#include "kernels/conv/weight_grad_tiles.inl.h"
#include "kernels/conv/winograd_split_variants.inl.h"
#include "kernels/gemm/tiles_emulated.h"

namespace figment::FIGMENT_ISA::tiles {
namespace {

constexpr Variant forward = convolutionOn<EmulatedTiles, Conv2dParams>("conv2d");
const RegisterVariant forwardRegistrar{forward};
constexpr Packer forwardPacker = convolutionPacker<Conv2dParams>("conv2d", EmulatedTiles::kName);
const RegisterPacker forwardPackerRegistrar{forwardPacker};
constexpr Variant inputGrad =
    convolutionOn<EmulatedTiles, Conv2dInputGradParams>("conv2dInputGrad");
const RegisterVariant inputGradRegistrar{inputGrad};
constexpr Packer inputGradPacker =
    convolutionPacker<Conv2dInputGradParams>("conv2dInputGrad", EmulatedTiles::kName);
const RegisterPacker inputGradPackerRegistrar{inputGradPacker};
constexpr Variant weightGrad = weightGradientOn<EmulatedTiles>();
const RegisterVariant weightGradRegistrar{weightGrad};

constexpr Variant splitForward =
    split::convolutionOn<EmulatedTiles, Conv2dParams>("conv2d", "emulated-split");
const RegisterVariant splitForwardRegistrar{splitForward};
constexpr Packer splitForwardPacker =
    split::convolutionPacker<Conv2dParams>("conv2d", "emulated-split");
const RegisterPacker splitForwardPackerRegistrar{splitForwardPacker};
constexpr Variant splitInputGrad =
    split::convolutionOn<EmulatedTiles, Conv2dInputGradParams>("conv2dInputGrad", "emulated-split");
const RegisterVariant splitInputGradRegistrar{splitInputGrad};
constexpr Packer splitInputGradPacker =
    split::convolutionPacker<Conv2dInputGradParams>("conv2dInputGrad", "emulated-split");
const RegisterPacker splitInputGradPackerRegistrar{splitInputGradPacker};
constexpr Variant filteringForward =
    split::filteringOn<EmulatedTiles, Conv2dParams>("conv2d", "emulated-split-winograd4x4");
const RegisterVariant filteringForwardRegistrar{filteringForward};
constexpr Variant filteringInputGrad = split::filteringOn<EmulatedTiles, Conv2dInputGradParams>(
    "conv2dInputGrad", "emulated-split-winograd4x4");
const RegisterVariant filteringInputGradRegistrar{filteringInputGrad};
constexpr Variant splitWeightGrad = split::weightGradientOn<EmulatedTiles>("emulated-split");
const RegisterVariant splitWeightGradRegistrar{splitWeightGrad};

}  // namespace
}  // namespace figment::FIGMENT_ISA::tiles
