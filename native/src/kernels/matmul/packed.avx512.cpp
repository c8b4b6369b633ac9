// The fast matmuls for avx512.
#include "kernels/matmul/outer.inl.h"
#include "kernels/matmul/packed.inl.h"

namespace figment::FIGMENT_ISA::matmul {
namespace {

const RegisterVariant packed{
    {"matmul", "avx512-packed", Isa::avx512, matmulSupports, matmulScratch, matmulRun}};
const RegisterVariant outer{
    {"matmul", "avx512-outer", Isa::avx512, outerSupports, outerScratch, outerRun}};

}  // namespace
}  // namespace figment::FIGMENT_ISA::matmul
