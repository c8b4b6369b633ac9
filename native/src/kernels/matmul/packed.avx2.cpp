// The fast matmuls for avx2.
#include "kernels/matmul/outer.inl.h"
#include "kernels/matmul/packed.inl.h"

namespace figment::FIGMENT_ISA::matmul {
namespace {

// Constexpr, so that registering them runs no instruction that the machine may lack.
constexpr Variant packed{"matmul",       "avx2-packed", Isa::avx2,
                         matmulSupports, matmulScratch, matmulRun};
const RegisterVariant packedRegistrar{packed};
constexpr Variant outer{"matmul", "avx2-outer", Isa::avx2, outerSupports, outerScratch, outerRun};
const RegisterVariant outerRegistrar{outer};

}  // namespace
}  // namespace figment::FIGMENT_ISA::matmul
