// The convolutions on tiles in plain C++.
#include "kernels/conv/tiles.inl.h"
#include "kernels/conv/weight_grad_tiles.inl.h"
#include "kernels/gemm/tiles_emulated.h"

namespace figment::FIGMENT_ISA::tiles {
namespace {

constexpr Variant forward = convolutionOn<EmulatedTiles, Conv2dParams>("conv2d");
const RegisterVariant forwardRegistrar{forward};
constexpr Variant inputGrad =
    convolutionOn<EmulatedTiles, Conv2dInputGradParams>("conv2dInputGrad");
const RegisterVariant inputGradRegistrar{inputGrad};
constexpr Variant weightGrad = weightGradientOn<EmulatedTiles>();
const RegisterVariant weightGradRegistrar{weightGrad};

}  // namespace
}  // namespace figment::FIGMENT_ISA::tiles
