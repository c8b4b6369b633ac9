// The convolutions on AMX tiles.
#include "kernels/conv/split.inl.h"
#include "kernels/conv/split_weight_grad.inl.h"
#include "kernels/conv/tiles.inl.h"
#include "kernels/conv/weight_grad_tiles.inl.h"
#include "kernels/conv/winograd_split_variants.inl.h"
#include "kernels/gemm/tiles_amx.h"

namespace figment::FIGMENT_ISA::tiles {
namespace {

constexpr Variant forward = convolutionOn<HardwareTiles, Conv2dParams>("conv2d");
const RegisterVariant forwardRegistrar{forward};
constexpr Packer forwardPacker = convolutionPacker<Conv2dParams>("conv2d", HardwareTiles::kName);
const RegisterPacker forwardPackerRegistrar{forwardPacker};
constexpr Variant inputGrad =
    convolutionOn<HardwareTiles, Conv2dInputGradParams>("conv2dInputGrad");
const RegisterVariant inputGradRegistrar{inputGrad};
constexpr Packer inputGradPacker =
    convolutionPacker<Conv2dInputGradParams>("conv2dInputGrad", HardwareTiles::kName);
const RegisterPacker inputGradPackerRegistrar{inputGradPacker};
constexpr Variant weightGrad = weightGradientOn<HardwareTiles>();
const RegisterVariant weightGradRegistrar{weightGrad};

constexpr Variant splitForward =
    split::convolutionOn<HardwareTiles, Conv2dParams>("conv2d", "amx-split");
const RegisterVariant splitForwardRegistrar{splitForward};
constexpr Packer splitForwardPacker = split::convolutionPacker<Conv2dParams>("conv2d", "amx-split");
const RegisterPacker splitForwardPackerRegistrar{splitForwardPacker};
constexpr Variant splitInputGrad =
    split::convolutionOn<HardwareTiles, Conv2dInputGradParams>("conv2dInputGrad", "amx-split");
const RegisterVariant splitInputGradRegistrar{splitInputGrad};
constexpr Packer splitInputGradPacker =
    split::convolutionPacker<Conv2dInputGradParams>("conv2dInputGrad", "amx-split");
const RegisterPacker splitInputGradPackerRegistrar{splitInputGradPacker};
constexpr Variant filteringForward =
    split::filteringOn<HardwareTiles, Conv2dParams>("conv2d", "amx-split-winograd4x4");
const RegisterVariant filteringForwardRegistrar{filteringForward};
constexpr Variant filteringInputGrad = split::filteringOn<HardwareTiles, Conv2dInputGradParams>(
    "conv2dInputGrad", "amx-split-winograd4x4");
const RegisterVariant filteringInputGradRegistrar{filteringInputGrad};
constexpr Variant splitWeightGrad = split::weightGradientOn<HardwareTiles>("amx-split");
const RegisterVariant splitWeightGradRegistrar{splitWeightGrad};

}  // namespace
}  // namespace figment::FIGMENT_ISA::tiles
