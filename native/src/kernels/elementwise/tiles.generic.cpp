// The tile interpreter in portable code.
#include "blocks.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

constexpr int kPreference = 10;

// A constant: registering it must not run instructions that the machine may lack.
constexpr Variant kVariant{
    .op = "elementwise",
    .name = "generic-tiles",
    .isa = Isa::generic,
    .supports =
        [](const OpCall& call) { return elementwise::tilesSupport(call) ? kPreference : -1; },
    .scratch = [](const OpCall& call,
                  int threads) { return elementwise::tileScratch(call, threads, kTable); },
    .run = [](const OpCall& call,
              Context& context) { elementwise::runTiles(call, context, kTable); }};
const RegisterVariant registerVariant{kVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
