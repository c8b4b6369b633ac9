// The convolutions of bf16 factors by AVX-512's dot products.
#include "kernels/conv/tiles.inl.h"
#include "kernels/conv/weight_grad_tiles.inl.h"
#include "kernels/gemm/tiles_avx512bf16.h"

namespace figment::FIGMENT_ISA::tiles {
namespace {

constexpr Variant forward = convolutionOn<DotProductTiles, Conv2dParams>("conv2d");
const RegisterVariant forwardRegistrar{forward};
constexpr Packer forwardPacker = convolutionPacker<Conv2dParams>("conv2d", DotProductTiles::kName);
const RegisterPacker forwardPackerRegistrar{forwardPacker};
constexpr Variant inputGrad =
    convolutionOn<DotProductTiles, Conv2dInputGradParams>("conv2dInputGrad");
const RegisterVariant inputGradRegistrar{inputGrad};
constexpr Packer inputGradPacker =
    convolutionPacker<Conv2dInputGradParams>("conv2dInputGrad", DotProductTiles::kName);
const RegisterPacker inputGradPackerRegistrar{inputGradPacker};
constexpr Variant weightGrad = weightGradientOn<DotProductTiles>();
const RegisterVariant weightGradRegistrar{weightGrad};

}  // namespace
}  // namespace figment::FIGMENT_ISA::tiles
