// Attention and its derivative on tiles in plain C++.
#include "../gemm/tiles_emulated.h"
#include "grad_tiles.inl.h"
#include "tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {
namespace {

template <bool (*kTakes)(const OpCall&)>
int supports(const OpCall& call) {
  return kTakes(call) ? kOnRequest : -1;
}

const RegisterVariant forward{{"attention", "emulated-bf16", Isa::generic,
                               supports<takesAttention<AttentionParams>>, attentionScratch,
                               runAttention<EmulatedTiles>}};
const RegisterVariant backward{{"attentionGrad", "emulated-bf16", Isa::generic,
                                supports<takesAttentionGrad>, attentionGradScratch,
                                runAttentionGrad<EmulatedTiles>}};

}  // namespace
}  // namespace figment::FIGMENT_ISA::tiles
