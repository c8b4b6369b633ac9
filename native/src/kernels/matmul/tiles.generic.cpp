// matmul on tiles in plain C++.
#include "kernels/gemm/tiles_emulated.h"
#include "kernels/matmul/tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {
namespace {

int supports(const OpCall& call) { return takesProduct(call) ? kOnRequest : -1; }

const RegisterVariant registration{
    {"matmul", "emulated-bf16", Isa::generic, supports, productScratch, runProduct<EmulatedTiles>}};

}  // namespace
}  // namespace figment::FIGMENT_ISA::tiles
