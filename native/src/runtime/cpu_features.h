// What this processor and its operating system can execute, found once by cpuid/xgetbv (x86-64) or
// the auxiliary vector (arm64).
#pragma once

#include <string>
#include <vector>

#include "instruction_sets.h"

namespace figment {

struct CpuFeatures {
  std::string name;                   ///< the processor's brand, or its architecture
  std::string family;                 ///< for example "AuthenticAMD 25.1"; its name where unknown
  std::vector<std::string> features;  ///< lower case, for example "avx512-bf16", "amx-int8", "neon"
  Isa best = Isa::generic;            ///< the widest set with its own kernels
  bool bf16 = false;                  ///< AVX-512 rounds to bf16 by an instruction of its own
};

const CpuFeatures& cpuFeatures();

}  // namespace figment
