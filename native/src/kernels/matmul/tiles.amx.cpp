// matmul on AMX tiles.
#include "kernels/gemm/tiles_amx.h"
#include "kernels/matmul/split.inl.h"
#include "kernels/matmul/tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {
namespace {

constexpr Variant product = productOn<HardwareTiles>();
const RegisterVariant productRegistrar{product};
constexpr Packer packer = productPacker<HardwareTiles>();
const RegisterPacker packerRegistrar{packer};
constexpr Variant splitProduct = split::productOn<HardwareTiles>("amx-split");
const RegisterVariant splitProductRegistrar{splitProduct};
constexpr Packer splitPacker = split::productPacker("amx-split");
const RegisterPacker splitPackerRegistrar{splitPacker};

}  // namespace
}  // namespace figment::FIGMENT_ISA::tiles
