// Uniforms and normals in AVX2.
#include "random.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

int preference(const OpCall&) { return 20; }

constexpr Variant kUniform = uniformVariant("avx2-philox", Isa::avx2, preference);
constexpr Variant kNormal = normalVariant("avx2-philox", Isa::avx2, preference);
const RegisterVariant registerUniform{kUniform};
const RegisterVariant registerNormal{kNormal};

}  // namespace
}  // namespace figment::FIGMENT_ISA
