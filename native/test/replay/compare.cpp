#include "compare.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/simd/half.h"

namespace figment::replay {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();

double valueOf(const std::byte* at, Format format) {
  switch (format) {
    case Format::f64: {
      double x;
      std::memcpy(&x, at, sizeof(x));
      return x;
    }
    case Format::f32: {
      float x;
      std::memcpy(&x, at, sizeof(x));
      return x;
    }
    default: {
      uint16_t half;
      std::memcpy(&half, at, sizeof(half));
      const uint32_t bits = format == Format::bf16 ? uint32_t(half) << 16 : widenF16(half);
      float x;
      std::memcpy(&x, &bits, sizeof(x));
      return x;
    }
  }
}

/// Relative to the largest element: eight times the distance of neighbours in f64 and f32, once
/// that in bf16.
double boundOf(Format format) {
  switch (format) {
    case Format::f64:
      return 0x1p-49;
    case Format::f32:
      return 0x1p-20;
    default:
      return 0x1p-7;
  }
}

bool isFloat(Format format) {
  return format == Format::f32 || format == Format::f64 || format == Format::bf16 ||
         format == Format::f16;
}

}  // namespace

double distance(const void* actual, const void* expected, uint64_t bytes, Format format,
                Format rounding) {
  if (std::memcmp(actual, expected, bytes) == 0) return 0;
  if (!isFloat(format)) return kInfinite;
  const auto* a = static_cast<const std::byte*>(actual);
  const auto* b = static_cast<const std::byte*>(expected);
  const size_t size = formatBytes(format);
  double largest = 0, off = 0;
  for (uint64_t i = 0; i + size <= bytes; i += size) {
    const double want = valueOf(b + i, format);
    if (std::isfinite(want)) largest = std::max(largest, std::abs(want));
    if (std::memcmp(a + i, b + i, size) == 0) continue;
    const double got = valueOf(a + i, format);
    if (std::isnan(got) && std::isnan(want)) continue;
    // Zeros of two signs are as far apart as the smallest number is from zero.
    const double error =
        got == want ? std::numeric_limits<double>::denorm_min() : std::abs(got - want);
    off = std::max(off, std::isnan(error) ? kInfinite : error);
  }
  if (off == 0) return 0;
  const double bound = std::max(boundOf(format), boundOf(rounding));
  return off / (bound * std::max(largest, double(std::numeric_limits<float>::min())));
}

}  // namespace figment::replay
