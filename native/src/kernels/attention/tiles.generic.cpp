// Attention and its derivative on tiles in plain C++.
#include "../gemm/tiles_emulated.h"
#include "grad_tiles.inl.h"
#include "tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {
namespace {

constexpr Variant forward = attentionOn<EmulatedTiles>();
const RegisterVariant forwardRegistrar{forward};
constexpr Variant backward = attentionGradOn<EmulatedTiles>();
const RegisterVariant backwardRegistrar{backward};

}  // namespace
}  // namespace figment::FIGMENT_ISA::tiles
