// The matrix tiles of matrix_tiles.inl.h in plain C++: an oracle for the order, packing and
// rounding of the hardware kernels on machines that lack it. Its variants are never chosen by
// themselves, unless tests ask for the choices of a machine with tiles.
#pragma once

#include <cstring>

#include "kernels/fallbacks.h"
#include "kernels/gemm/matrix_tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// Eight tiles of 16 rows of 64 bytes, and the four instructions that the kernels use.
class EmulatedTiles {
 public:
  static constexpr const char* kName = "emulated-bf16";
  static constexpr Isa kIsa = Isa::generic;
  static constexpr bool kAddsSteps = false;
  template <bool (*kTakes)(const OpCall&), bool (*kFills)(const OpCall&)>
  static int supports(const OpCall& call) {
    if (!kTakes(call)) return -1;
    if (!emulatedTilesServe().load(std::memory_order_relaxed)) return kOnRequest;
    // Above the hardware's own, where a machine has it.
    return kFills(call) ? gemm::kTilesPreference + 1 : kPossible;
  }

  template <int kTile>
  void zero() {
    std::memset(rows_[kTile], 0, sizeof rows_[kTile]);
  }
  template <int kTile>
  void load(const void* from, int64_t stepBytes) {
    for (int64_t i = 0; i < kSide; i++)
      std::memcpy(rows_[kTile][i], static_cast<const std::byte*>(from) + i * stepBytes, kRowBytes);
  }
  template <int kTile>
  void stream(const void* from, int64_t stepBytes) {
    load<kTile>(from, stepBytes);
  }
  template <int kTile>
  void store(void* to, int64_t stepBytes) const {
    for (int64_t i = 0; i < kSide; i++)
      std::memcpy(static_cast<std::byte*>(to) + i * stepBytes, rows_[kTile][i], kRowBytes);
  }
  static void storeBf16(uint16_t* to, F32 low, F32 high) {
    figment::FIGMENT_ISA::storeBf16(to, low, high);
  }
  /// Intel SDM, TDPBF16PS: even and odd k are summed apart from zero, in order, by fused
  /// multiply-adds that take denormals for zero and flush those that they make; the two are added,
  /// then C.
  template <int kC, int kA, int kB>
  void dot() {
    for (int64_t m = 0; m < kSide; m++) {
      float even[kSide] = {}, odd[kSide] = {};
      for (int64_t k = 0; k < kSide; k++) {
        const float a0 = element(kA, m, 2 * k), a1 = element(kA, m, 2 * k + 1);
        for (int64_t n = 0; n < kSide; n++) {
          even[n] = fused(a0, element(kB, k, 2 * n), even[n]);
          odd[n] = fused(a1, element(kB, k, 2 * n + 1), odd[n]);
        }
      }
      float sums[kSide];
      std::memcpy(sums, rows_[kC][m], sizeof sums);
      for (int64_t n = 0; n < kSide; n++)
        sums[n] = flushed(flushed(sums[n]) + flushed(even[n] + odd[n]));
      std::memcpy(rows_[kC][m], sums, sizeof sums);
    }
  }

 private:
  static float flushed(float x) { return x > -kLeastNormal && x < kLeastNormal ? 0.0f : x; }
  /// a·b + c rounded once. The product of two bf16 numbers is exact in f64; where the sum is not,
  /// it is so far from the middle between two f32 numbers that rounding twice changes nothing.
  static float fused(float a, float b, float c) {
    return flushed(float(double(a) * double(b) + double(c)));
  }
  /// A bf16 number; denormals count as zero.
  float element(int tile, int64_t row, int64_t i) const {
    uint16_t bits;
    std::memcpy(&bits, rows_[tile][row] + 2 * i, sizeof bits);
    return flushed(fromBits(uint32_t(bits) << 16));
  }

  static constexpr float kLeastNormal = 0x1p-126f;

  alignas(64) std::byte rows_[8][kSide][kRowBytes];
};

}  // namespace figment::FIGMENT_ISA::tiles
