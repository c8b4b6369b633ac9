// matmul of bf16 factors by AVX-512's dot products.
#include "kernels/gemm/tiles_avx512bf16.h"
#include "kernels/matmul/tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {
namespace {

constexpr Variant product = productOn<DotProductTiles>();
const RegisterVariant productRegistrar{product};
constexpr Packer packer = productPacker<DotProductTiles>();
const RegisterPacker packerRegistrar{packer};

}  // namespace
}  // namespace figment::FIGMENT_ISA::tiles
