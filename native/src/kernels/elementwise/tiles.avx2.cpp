// The tile interpreter with AVX2 blocks.
#include "blocks.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

constexpr int kPreference = 20;

// A constant: registering it must not run instructions that the machine may lack.
constexpr Variant kVariant{
    .op = "elementwise",
    .name = "avx2-tiles",
    .isa = Isa::avx2,
    .supports =
        [](const OpCall& call) { return elementwise::tilesSupport(call) ? kPreference : -1; },
    .scratch = [](const OpCall& call,
                  int threads) { return elementwise::tileScratch(call, threads, kTable); },
    .run = [](const OpCall& call,
              Context& context) { elementwise::runTiles(call, context, kTable); }};
const RegisterVariant registerVariant{kVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
