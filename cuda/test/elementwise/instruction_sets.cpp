// Kernels of the CPU and of GPUs side by side, as no backend has them.
#include "runtime/instruction_sets.h"

namespace figment {

Isa bestIsa() { return Isa::sm75; }
bool belongsHere(Isa) { return true; }
const char* isaName(Isa isa) { return isa == Isa::generic ? "generic" : "sm75"; }
bool parseIsa(const std::string&, Isa&) { return false; }

}  // namespace figment
