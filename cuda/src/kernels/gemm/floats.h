// Operands of products, whose formats are known when the kernel runs: f32, bf16 and f16 in any
// mixture, computed in f32; or f64, computed in f64.
#pragma once

#include "../../device/instructions.h"
#include "../../device/launch.h"
#include "../../device/memory.h"
#include "../../device/number.h"

namespace figment::cuda {

/// Apart from the types of the same names in device/floats.h, of which a linker would take one for
/// the other.
inline namespace products {

template <class Sum>
class Floats;
template <class Sum>
class FloatResults;

/// f32, bf16 or f16.
template <>
class Floats<float> {
 public:
  Floats() = default;
  explicit Floats(const Operand& operand) : format_(operand.format) {
    if (format_ == Format::f32)
      singles_ = viewOf<const float>(operand);
    else
      halves_ = viewOf<const uint16_t>(operand);
  }
  FIGMENT_DEVICE float operator[](int64_t i) const {
    if (format_ == Format::f32) return singles_[i];
    const uint16_t bits = halves_[i];
    return half(bits);
  }
  /// Four neighbours, aligned to all of them.
  FIGMENT_DEVICE float4 four(int64_t i) const {
    if (format_ == Format::f32) return singles_.load<float4>(i);
    const uint2 words = halves_.load<uint2>(i);
    const float2 low = halves(words.x), high = halves(words.y);
    return make_float4(low.x, low.y, high.x, high.y);
  }
  /// Two neighbours, aligned to both.
  FIGMENT_DEVICE float2 two(int64_t i) const {
    return format_ == Format::f32 ? singles_.load<float2>(i) : halves(halves_.load<uint32_t>(i));
  }
  /// Eight neighbours, aligned to 16 bytes.
  FIGMENT_DEVICE void eight(int64_t i, float (&x)[8]) const {
    if (format_ == Format::f32) {
      const float4 low = singles_.load<float4>(i), high = singles_.load<float4>(i + 4);
      x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
      x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
      return;
    }
    const uint4 words = eightHalves(i);
    const uint32_t each[4] = {words.x, words.y, words.z, words.w};
    FIGMENT_UNROLL
    for (int w = 0; w < 4; w++) {
      const float2 both = halves(each[w]);
      x[2 * w] = both.x;
      x[2 * w + 1] = both.y;
    }
  }
#ifdef FIGMENT_KERNELS
  /// As fetchLine.
  FIGMENT_DEVICE void fetch(int64_t i) const {
    inHalves() ? fetchLine(halves_, i) : fetchLine(singles_, i);
  }
#endif
  FIGMENT_BOTH bool inHalves() const { return format_ != Format::f32; }
  /// Of 16 bits each, aligned to all of them; halves() widens a word's two.
  FIGMENT_DEVICE uint4 eightHalves(int64_t i) const { return halves_.load<uint4>(i); }
  FIGMENT_DEVICE float2 halves(uint32_t word) const {
    return make_float2(half(uint16_t(word)), half(uint16_t(word >> 16)));
  }

 private:
  FIGMENT_DEVICE float half(uint16_t bits) const {
    return format_ == Format::bf16 ? widen(Bf16{bits}) : widen(F16{bits});
  }

  Global<const float> singles_;
  Global<const uint16_t> halves_;
  Format format_ = Format::f32;
};

template <>
class Floats<double> {
 public:
  Floats() = default;
  explicit Floats(const Operand& operand) : doubles_(viewOf<const double>(operand)) {}
  FIGMENT_DEVICE double operator[](int64_t i) const { return doubles_[i]; }

 private:
  Global<const double> doubles_;
};

/// The same for results.
template <>
class FloatResults<float> {
 public:
  FloatResults() = default;
  explicit FloatResults(const Operand& operand) : format_(operand.format) {
    if (format_ == Format::f32)
      singles_ = viewOf<float>(operand);
    else
      halves_ = viewOf<uint16_t>(operand);
  }
  FIGMENT_DEVICE void store(int64_t i, float value) const {
    if (format_ == Format::f32)
      singles_[i] = value;
    else if (format_ == Format::bf16)
      halves_[i] = narrow<Bf16>(value).bits;
    else
      halves_[i] = narrow<F16>(value).bits;
  }
  /// Eight neighbours at once, aligned to 16 bytes.
  FIGMENT_DEVICE void storeOctet(int64_t i, const float (&x)[8]) const {
    if (format_ == Format::f32) {
      singles_.store(i, make_float4(x[0], x[1], x[2], x[3]));
      singles_.store(i + 4, make_float4(x[4], x[5], x[6], x[7]));
      return;
    }
    uint32_t words[4];
    FIGMENT_UNROLL
    for (int w = 0; w < 4; w++)
      words[w] = format_ == Format::bf16 ? pair<Bf16>(x[2 * w], x[2 * w + 1])
                                         : pair<F16>(x[2 * w], x[2 * w + 1]);
    halves_.store(i, make_uint4(words[0], words[1], words[2], words[3]));
  }

 private:
  template <class T>
  FIGMENT_DEVICE static uint32_t pair(float low, float high) {
    return uint32_t(narrow<T>(low).bits) | uint32_t(narrow<T>(high).bits) << 16;
  }

  Global<float> singles_;
  Global<uint16_t> halves_;
  Format format_ = Format::f32;
};

template <>
class FloatResults<double> {
 public:
  FloatResults() = default;
  explicit FloatResults(const Operand& operand) : doubles_(viewOf<double>(operand)) {}
  FIGMENT_DEVICE void store(int64_t i, double value) const { doubles_[i] = value; }

 private:
  Global<double> doubles_;
};

}  // namespace products

#ifdef FIGMENT_KERNELS
FIGMENT_DEVICE float multiplyAdd(float a, float b, float c) { return __fmaf_rn(a, b, c); }
FIGMENT_DEVICE double multiplyAdd(double a, double b, double c) { return __fma_rn(a, b, c); }
#endif

}  // namespace figment::cuda
