// Attention and its derivative on tiles in plain C++.
#include "../gemm/tiles_emulated.h"
#include "grad_tiles.inl.h"
#include "tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {
namespace {

constexpr Variant forward = attentionOn<EmulatedTiles, 1>(EmulatedTiles::kName);
const RegisterVariant forwardRegistrar{forward};
constexpr Variant backward = attentionGradOn<EmulatedTiles, 1>(EmulatedTiles::kName);
const RegisterVariant backwardRegistrar{backward};
constexpr Variant splitForward = attentionOn<EmulatedTiles, 3>("emulated-split");
const RegisterVariant splitForwardRegistrar{splitForward};
constexpr Variant splitBackward = attentionGradOn<EmulatedTiles, 3>("emulated-split");
const RegisterVariant splitBackwardRegistrar{splitBackward};

}  // namespace
}  // namespace figment::FIGMENT_ISA::tiles
