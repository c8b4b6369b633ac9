// Attention and its derivative on AMX tiles.
#include "../gemm/tiles_amx.h"
#include "grad_tiles.inl.h"
#include "tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {
namespace {

constexpr Variant forward = attentionOn<HardwareTiles>();
const RegisterVariant forwardRegistrar{forward};
constexpr Variant backward = attentionGradOn<HardwareTiles>();
const RegisterVariant backwardRegistrar{backward};

}  // namespace
}  // namespace figment::FIGMENT_ISA::tiles
