// The fast matmuls for avx512.
#include "kernels/matmul/outer.inl.h"
#include "kernels/matmul/packed.inl.h"

namespace figment::FIGMENT_ISA::matmul {
namespace {

// Constexpr, so that registering them runs no instruction that the machine may lack.
constexpr Variant packed{"matmul",       "avx512-packed", Isa::avx512,
                         matmulSupports, matmulScratch,   matmulRun};
const RegisterVariant packedRegistrar{packed};
constexpr Variant outer{"matmul",      "avx512-outer", Isa::avx512,
                        outerSupports, outerScratch,   outerRun};
const RegisterVariant outerRegistrar{outer};

}  // namespace
}  // namespace figment::FIGMENT_ISA::matmul
