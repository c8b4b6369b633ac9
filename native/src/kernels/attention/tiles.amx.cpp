// Attention and its derivative on AMX tiles.
#include "../gemm/tiles_amx.h"
#include "grad_tiles.inl.h"
#include "tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {
namespace {

int supports(const OpCall& call) {
  if (!takesAttention<AttentionParams>(call)) return -1;
  return fillsAttentionTiles(call.as<AttentionParams>()) ? kPreferred : kPossible;
}

int supportsGrad(const OpCall& call) {
  if (!takesAttentionGrad(call)) return -1;
  return fillsAttentionTiles(call.as<AttentionGradParams>()) ? kPreferred : kPossible;
}

// Constexpr, so that registering them runs no instruction that the machine may lack.
constexpr Variant forward{"attention", "amx-bf16",       Isa::amx,
                          supports,    attentionScratch, runAttention<HardwareTiles>};
const RegisterVariant forwardRegistrar{forward};
constexpr Variant backward{"attentionGrad", "amx-bf16",           Isa::amx,
                           supportsGrad,    attentionGradScratch, runAttentionGrad<HardwareTiles>};
const RegisterVariant backwardRegistrar{backward};

}  // namespace
}  // namespace figment::FIGMENT_ISA::tiles
