// f32 reductions in AVX2.
#include "reduce.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

int supports(const OpCall& call) { return call.in[0].format == Format::f32 ? 20 : -1; }

constexpr Variant kVariant = reduceVariant("avx2-chunks", Isa::avx2, supports);
const RegisterVariant registerVariant{kVariant};

}  // namespace
}  // namespace figment::FIGMENT_ISA
