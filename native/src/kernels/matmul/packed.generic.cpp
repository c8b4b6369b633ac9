// The fast matmuls for generic.
#include "kernels/matmul/outer.inl.h"
#include "kernels/matmul/packed.inl.h"

namespace figment::FIGMENT_ISA::matmul {
namespace {

const RegisterVariant packed{
    {"matmul", "generic-packed", Isa::generic, matmulSupports, matmulScratch, matmulRun}};
const RegisterVariant outer{
    {"matmul", "generic-outer", Isa::generic, outerSupports, outerScratch, outerRun}};

}  // namespace
}  // namespace figment::FIGMENT_ISA::matmul
