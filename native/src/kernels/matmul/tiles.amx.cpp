// matmul on AMX tiles.
#include "../params/matmul.generated.h"
#include "kernels/gemm/tiles_amx.h"
#include "kernels/matmul/tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {
namespace {

int supports(const OpCall& call) {
  if (!takesProduct(call)) return -1;
  const auto& p = call.as<MatmulParams>();
  return p.m >= kLeastRows && p.n >= kLeastRows && p.k >= kLeastDepth ? kPreferred : kPossible;
}

// Constexpr, so that registering it runs no instruction that the machine may lack.
constexpr Variant variant{"matmul", "amx-bf16",     Isa::amx,
                          supports, productScratch, runProduct<HardwareTiles>};
const RegisterVariant registration{variant};

}  // namespace
}  // namespace figment::FIGMENT_ISA::tiles
