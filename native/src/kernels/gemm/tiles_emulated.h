// The matrix tiles of matrix_tiles.inl.h in plain C++: an oracle for the order and packing of the
// hardware kernels on machines that lack it. Its variants are never chosen by themselves.
#pragma once

#include <cstring>

#include "kernels/gemm/matrix_tiles.inl.h"

namespace figment::FIGMENT_ISA::tiles {

/// Eight tiles of 16 rows of 64 bytes, and the four instructions that the kernels use.
class EmulatedTiles {
 public:
  static constexpr const char* kName = "emulated-bf16";
  static constexpr Isa kIsa = Isa::generic;
  template <bool (*kTakes)(const OpCall&), bool (*)(const OpCall&)>
  static int supports(const OpCall& call) {
    return kTakes(call) ? kOnRequest : -1;
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
  void store(void* to, int64_t stepBytes) const {
    for (int64_t i = 0; i < kSide; i++)
      std::memcpy(static_cast<std::byte*>(to) + i * stepBytes, rows_[kTile][i], kRowBytes);
  }
  template <int kC, int kA, int kB>
  void dot() {
    for (int64_t m = 0; m < kSide; m++) {
      float even[kSide] = {}, odd[kSide] = {};
      for (int64_t k = 0; k < kSide; k++) {
        const float a0 = element(kA, m, 2 * k), a1 = element(kA, m, 2 * k + 1);
        for (int64_t n = 0; n < kSide; n++) {
          even[n] += a0 * element(kB, k, 2 * n);
          odd[n] += a1 * element(kB, k, 2 * n + 1);
        }
      }
      float sums[kSide];
      std::memcpy(sums, rows_[kC][m], sizeof sums);
      for (int64_t n = 0; n < kSide; n++) sums[n] += even[n] + odd[n];
      std::memcpy(rows_[kC][m], sums, sizeof sums);
    }
  }

 private:
  /// A bf16 number; denormals count as zero.
  float element(int tile, int64_t row, int64_t i) const {
    uint16_t bits;
    std::memcpy(&bits, rows_[tile][row] + 2 * i, sizeof bits);
    return (bits & 0x7f80) == 0 ? 0.0f : fromBits(uint32_t(bits) << 16);
  }

  alignas(64) std::byte rows_[8][kSide][kRowBytes];
};

}  // namespace figment::FIGMENT_ISA::tiles
