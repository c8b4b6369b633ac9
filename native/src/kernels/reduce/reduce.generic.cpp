// f32 reductions in portable code.
#include "reduce.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

int supports(const OpCall& call) { return call.in[0].format == Format::f32 ? 10 : -1; }

constexpr Variant kVariant = reduceVariant("generic-chunks", Isa::generic, supports);
const RegisterVariant registerVariant{kVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
