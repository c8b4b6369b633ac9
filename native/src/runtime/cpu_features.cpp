// Feature detection. A set counts only when the operating system also saves its registers (XCR0).
#include "cpu_features.h"

#include <cstdint>
#include <cstring>

#include "kernels/simd/bf16.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace figment {
namespace {

#if defined(__x86_64__)

struct Leaf {
  uint32_t a = 0, b = 0, c = 0, d = 0;
};

Leaf cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  Leaf r;
  __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
  return r;
}

uint64_t enabledState() {
  uint32_t low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t(high) << 32) | low;
}

std::string brand() {
  if (__get_cpuid_max(0x80000000u, nullptr) < 0x80000004u) return "x86-64";
  char text[49] = {};
  for (uint32_t i = 0; i < 3; i++) {
    const Leaf r = cpuid(0x80000002u + i);
    const uint32_t words[4] = {r.a, r.b, r.c, r.d};
    std::memcpy(text + 16 * i, words, 16);
  }
  std::string name(text);
  const size_t first = name.find_first_not_of(' ');
  const size_t last = name.find_last_not_of(' ');
  return first == std::string::npos ? "x86-64" : name.substr(first, last - first + 1);
}

/// Vendor, family and model: what the processor's name may hide in a virtual machine.
std::string family() {
  const Leaf zero = cpuid(0), one = cpuid(1);
  const uint32_t words[3] = {zero.b, zero.d, zero.c};
  char vendor[13] = {};
  std::memcpy(vendor, words, sizeof(words));
  const uint32_t base = (one.a >> 8) & 0xf;
  const uint32_t number = base == 0xf ? base + ((one.a >> 20) & 0xff) : base;
  const uint32_t model = ((one.a >> 4) & 0xf) | ((one.a >> 12) & 0xf0);
  return std::string(vendor) + " " + std::to_string(number) + "." + std::to_string(model);
}

/// Asks the operating system for the tile registers, which a process does not have by default.
bool grantTiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

CpuFeatures detect() {
  CpuFeatures cpu;
  cpu.name = brand();
  cpu.family = family();
  const Leaf one = cpuid(1);
  const Leaf seven = cpuid(7);
  const Leaf sevenOne = seven.a >= 1 ? cpuid(7, 1) : Leaf{};
  const auto bit = [](uint32_t word, int index) { return ((word >> index) & 1) != 0; };

  // XCR0: bits 1-2 are the AVX state, 5-7 the AVX-512 state, 17-18 the tile state.
  constexpr uint64_t kAvxState = 0x6, kAvx512State = 0xe6, kTileState = 0x60000;
  const uint64_t state = bit(one.c, 27) ? enabledState() : 0;
  const bool ymm = (state & kAvxState) == kAvxState;
  const bool zmm = (state & kAvx512State) == kAvx512State;
  const bool tiles = (state & kTileState) == kTileState;

  const auto add = [&](const char* name, bool present) {
    if (present) cpu.features.push_back(name);
    return present;
  };
  add("sse4.2", bit(one.c, 20));
  add("avx", ymm && bit(one.c, 28));
  const bool f16c = add("f16c", ymm && bit(one.c, 29));
  const bool fma = add("fma", ymm && bit(one.c, 12));
  const bool avx2 = add("avx2", ymm && bit(seven.b, 5));
  const bool f = add("avx512-f", zmm && bit(seven.b, 16));
  const bool dq = add("avx512-dq", zmm && bit(seven.b, 17));
  const bool cd = add("avx512-cd", zmm && bit(seven.b, 28));
  const bool bw = add("avx512-bw", zmm && bit(seven.b, 30));
  const bool vl = add("avx512-vl", zmm && bit(seven.b, 31));
  add("avx512-vnni", zmm && bit(seven.c, 11));
  cpu.bf16 = add("avx512-bf16", zmm && bit(sevenOne.a, 5));
  add("avx512-fp16", zmm && bit(seven.d, 23));
  const bool tile = add("amx-tile", tiles && bit(seven.d, 24));
  const bool tileBf16 = add("amx-bf16", tiles && bit(seven.d, 22));
  add("amx-int8", tiles && bit(seven.d, 25));

  if (avx2 && fma && f16c) cpu.best = Isa::avx2;
  if (cpu.best == Isa::avx2 && f && dq && cd && bw && vl) cpu.best = Isa::avx512;
  if (cpu.best == Isa::avx512 && cpu.bf16) cpu.best = Isa::avx512bf16;
  // Kernels on tiles round to bf16 by AVX-512's instructions for it.
  if (cpu.best == Isa::avx512bf16 && tile && tileBf16 && grantTiles()) cpu.best = Isa::amx;
  return cpu;
}

#elif defined(__aarch64__)

CpuFeatures detect() {
  CpuFeatures cpu;
  cpu.name = cpu.family = "arm64";
  cpu.features.push_back("neon");
#if defined(__linux__)
  const unsigned long one = getauxval(AT_HWCAP);
  const unsigned long two = getauxval(AT_HWCAP2);
  const auto add = [&](const char* name, bool present) {
    if (present) cpu.features.push_back(name);
  };
  add("fp16", (one & HWCAP_ASIMDHP) != 0);
  add("dotprod", (one & HWCAP_ASIMDDP) != 0);
  add("sve", (one & HWCAP_SVE) != 0);
#ifdef HWCAP2_BF16
  add("bf16", (two & HWCAP2_BF16) != 0);
#endif
#ifdef HWCAP2_I8MM
  add("i8mm", (two & HWCAP2_I8MM) != 0);
#endif
  (void)two;
#endif
  return cpu;
}

#else

CpuFeatures detect() {
  CpuFeatures cpu;
  cpu.name = cpu.family = "unknown processor";
  return cpu;
}

#endif

}  // namespace

const CpuFeatures& cpuFeatures() {
  static const CpuFeatures* const cpu = new CpuFeatures(detect());
  return *cpu;
}

bool roundsToBf16() {
  static const bool rounds = cpuFeatures().bf16;
  return rounds;
}
Isa bestIsa() { return cpuFeatures().best; }
bool belongsHere(Isa isa) { return isa <= Isa::amx; }

const char* isaName(Isa isa) {
  switch (isa) {
    case Isa::amx:
      return "amx";
    case Isa::avx512bf16:
      return "avx512bf16";
    case Isa::avx512:
      return "avx512";
    case Isa::avx2:
      return "avx2";
    default:
      return "generic";
  }
}

bool parseIsa(const std::string& name, Isa& isa) {
  for (const Isa candidate : {Isa::generic, Isa::avx2, Isa::avx512, Isa::avx512bf16, Isa::amx}) {
    if (name == isaName(candidate)) {
      isa = candidate;
      return true;
    }
  }
  return false;
}

}  // namespace figment
