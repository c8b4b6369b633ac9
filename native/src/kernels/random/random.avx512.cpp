// Uniforms and normals in AVX-512.
#include "random.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

int preference(const OpCall&) { return 30; }

constexpr Variant kUniform = uniformVariant("avx512-philox", Isa::avx512, preference);
constexpr Variant kNormal = normalVariant("avx512-philox", Isa::avx512, preference);
const RegisterVariant registerUniform{kUniform};
const RegisterVariant registerNormal{kNormal};

}  // namespace
}  // namespace figment::FIGMENT_ISA
