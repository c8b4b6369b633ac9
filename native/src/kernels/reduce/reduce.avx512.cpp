// f32 reductions in AVX-512.
#include "reduce.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

int supports(const OpCall& call) { return call.in[0].format == Format::f32 ? 30 : -1; }

constexpr Variant kVariant = reduceVariant("avx512-chunks", Isa::avx512, supports);
const RegisterVariant registerVariant{kVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
