// Attention and its derivative on AMX tiles.
#include "../gemm/tiles_amx.h"
#include "grad_tiles.inl.h"
#include "tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {
namespace {

constexpr Variant forward = attentionOn<HardwareTiles, 1>(HardwareTiles::kName);
const RegisterVariant forwardRegistrar{forward};
constexpr Variant backward = attentionGradOn<HardwareTiles, 1>(HardwareTiles::kName);
const RegisterVariant backwardRegistrar{backward};
constexpr Variant splitForward = attentionOn<HardwareTiles, 3>("amx-split");
const RegisterVariant splitForwardRegistrar{splitForward};
constexpr Variant splitBackward = attentionGradOn<HardwareTiles, 3>("amx-split");
const RegisterVariant splitBackwardRegistrar{splitBackward};

}  // namespace
}  // namespace figment::FIGMENT_ISA::tiles
