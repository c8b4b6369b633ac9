// Attention of bf16 factors and its derivative by AVX-512's dot products.
#include "../gemm/tiles_avx512bf16.h"
#include "grad_tiles.inl.h"
#include "tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {
namespace {

constexpr Variant forward = attentionOn<DotProductTiles, 1>(DotProductTiles::kName);
const RegisterVariant forwardRegistrar{forward};
constexpr Variant backward = attentionGradOn<DotProductTiles, 1>(DotProductTiles::kName);
const RegisterVariant backwardRegistrar{backward};

}  // namespace
}  // namespace figment::FIGMENT_ISA::tiles
