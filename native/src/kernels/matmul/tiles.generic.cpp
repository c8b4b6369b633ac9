// matmul on tiles in plain C++.
#include "kernels/gemm/tiles_emulated.h"
#include "kernels/matmul/split.inl.h"
#include "kernels/matmul/tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {
namespace {

constexpr Variant product = productOn<EmulatedTiles>();
const RegisterVariant productRegistrar{product};
constexpr Packer packer = productPacker<EmulatedTiles>();
const RegisterPacker packerRegistrar{packer};
constexpr Variant splitProduct = split::productOn<EmulatedTiles>("emulated-split");
const RegisterVariant splitProductRegistrar{splitProduct};
constexpr Packer splitPacker = split::productPacker("emulated-split");
const RegisterPacker splitPackerRegistrar{splitPacker};

}  // namespace
}  // namespace figment::FIGMENT_ISA::tiles
