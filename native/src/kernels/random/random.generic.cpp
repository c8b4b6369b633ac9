// Uniforms and normals in portable code.
#include "random.inl.h"

namespace figment::FIGMENT_ISA {
namespace {

int preference(const OpCall&) { return 10; }

constexpr Variant kUniform = uniformVariant("generic-philox", Isa::generic, preference);
constexpr Variant kNormal = normalVariant("generic-philox", Isa::generic, preference);
const RegisterVariant registerUniform{kUniform};
const RegisterVariant registerNormal{kNormal};

}  // namespace
}  // namespace figment::FIGMENT_ISA
