// The matrix tiles of matrix_tiles.inl.h on AMX, in assembly because compilers' intrinsics want
// literal register numbers. Run only where cpu_features finds it and the operating system grants
// its state. Include only from *.amx.cpp.
#pragma once

#include "kernels/gemm/matrix_tiles.inl.h"
#include "kernels/simd/bf16.h"

namespace figment::FIGMENT_ISA::tiles {

/// The eight tile registers of this thread, all of 16 rows of 64 bytes while this lives.
class HardwareTiles {
 public:
  /// What variants on these tiles are called and need, and which calls they are preferred for.
  static constexpr const char* kName = "amx-bf16";
  static constexpr Isa kIsa = Isa::amx;
  static constexpr bool kAddsSteps = false;
  template <bool (*kTakes)(const OpCall&), bool (*kFills)(const OpCall&)>
  static int supports(const OpCall& call) {
    if (!kTakes(call)) return -1;
    return kFills(call) ? gemm::kTilesPreference : kPossible;
  }

  HardwareTiles() {
    struct alignas(64) {
      uint8_t palette = 1, startRow = 0, reserved[14] = {};
      uint16_t rowBytes[16] = {};
      uint8_t rows[16] = {};
    } config;
    static_assert(sizeof config == 64);
    for (int i = 0; i < 8; i++) {
      config.rowBytes[i] = kRowBytes;
      config.rows[i] = kSide;
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(config));
  }
  ~HardwareTiles() { __asm__ volatile("tilerelease" ::); }
  HardwareTiles(const HardwareTiles&) = delete;
  HardwareTiles& operator=(const HardwareTiles&) = delete;

  template <int kTile>
  void zero() {
    __asm__ volatile("tilezero %%tmm%c0" ::"i"(kTile));
  }
  template <int kTile>
  void load(const void* from, int64_t stepBytes) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stepBytes), "i"(kTile)
                     : "memory");
  }
  /// The same of what is not soon read again, past the first-level cache.
  template <int kTile>
  void stream(const void* from, int64_t stepBytes) {
    __asm__ volatile("tileloaddt1 (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stepBytes), "i"(kTile)
                     : "memory");
  }
  template <int kTile>
  void store(void* to, int64_t stepBytes) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stepBytes), "i"(kTile)
                     : "memory");
  }
  /// Rounds two vectors to bf16.
  static FIGMENT_INLINE void storeBf16(uint16_t* to, F32 low, F32 high) {
    storeBf16ByProcessor(to, low, high);
  }
  template <int kC, int kA, int kB>
  void dot() {
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
  }
};

}  // namespace figment::FIGMENT_ISA::tiles
