// The fast matmuls for avx2.
#include "kernels/matmul/outer.inl.h"
#include "kernels/matmul/packed.inl.h"

namespace figment::FIGMENT_ISA::matmul {
namespace {

const RegisterVariant packed{
    {"matmul", "avx2-packed", Isa::avx2, matmulSupports, matmulScratch, matmulRun}};
const RegisterVariant outer{
    {"matmul", "avx2-outer", Isa::avx2, outerSupports, outerScratch, outerRun}};

}  // namespace
}  // namespace figment::FIGMENT_ISA::matmul
