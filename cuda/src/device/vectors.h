// Neighbouring floats of operands of f32, bf16 and f16, moved as vectors. N says how many: 8 where
// all large operands of a kernel are 16-bit, 4 where one is f32, so that the widest move is of 16
// bytes and neighbouring threads never leave gaps; 1 where rows or addresses are not made for
// vectors. Loading and widening are apart, so that many loads can be under way.
#pragma once

#include <initializer_list>

#include "floats.h"
#include "instructions.h"

namespace figment::cuda {

/// N floats as they are stored.
template <int N>
struct Raw {
  static_assert(N == 1 || N == 4 || N == 8);
  uint32_t words[N == 1 ? 1 : 4];
};

template <int N>
FIGMENT_DEVICE Raw<N> loadRaw(const Floats<float>& x, int64_t i) {
  Raw<N> raw;
  if constexpr (N == 1) {
    raw.words[0] = x.format == Format::f32 ? x.as<uint32_t>()[i] : uint32_t(x.as<uint16_t>()[i]);
  } else if (N == 4 && x.format != Format::f32) {
    const uint2 pair = x.as<uint16_t>().template load<uint2>(i);
    raw.words[0] = pair.x;
    raw.words[1] = pair.y;
    raw.words[2] = raw.words[3] = 0;
  } else {
    const uint4 all = N == 4 ? x.as<uint32_t>().template load<uint4>(i)
                             : x.as<uint16_t>().template load<uint4>(i);
    raw.words[0] = all.x;
    raw.words[1] = all.y;
    raw.words[2] = all.z;
    raw.words[3] = all.w;
  }
  return raw;
}

/// The two 16-bit floats of a word.
FIGMENT_DEVICE void widenPair(uint32_t word, bool bf16, float& low, float& high) {
  if (bf16) {
    low = bitsToFloat(word << 16);
    high = bitsToFloat(word & 0xffff0000u);
  } else {
    low = widen(F16{uint16_t(word)});
    high = widen(F16{uint16_t(word >> 16)});
  }
}

template <int N>
FIGMENT_DEVICE void widenRaw(const Raw<N>& raw, Format format, float (&values)[N]) {
  const bool bf16 = format == Format::bf16;
  if constexpr (N == 1) {
    float unused;
    if (format == Format::f32)
      values[0] = bitsToFloat(raw.words[0]);
    else
      widenPair(raw.words[0], bf16, values[0], unused);
  } else if constexpr (N == 4) {
    if (format == Format::f32) {
      FIGMENT_UNROLL
      for (int j = 0; j < 4; j++) values[j] = bitsToFloat(raw.words[j]);
    } else {
      widenPair(raw.words[0], bf16, values[0], values[1]);
      widenPair(raw.words[1], bf16, values[2], values[3]);
    }
  } else {
    if (bf16) {
      FIGMENT_UNROLL
      for (int j = 0; j < 4; j++) widenPair(raw.words[j], true, values[2 * j], values[2 * j + 1]);
    } else {
      FIGMENT_UNROLL
      for (int j = 0; j < 4; j++) widenPair(raw.words[j], false, values[2 * j], values[2 * j + 1]);
    }
  }
}

template <int N>
FIGMENT_DEVICE void loadFloats(const Floats<float>& x, int64_t i, float (&values)[N]) {
  widenRaw(loadRaw<N>(x, i), x.format, values);
}

/// The same of an operand that did not decide on N: a vector of channels in f32 beside 16-bit rows.
template <int N>
FIGMENT_DEVICE void loadAny(const Floats<float>& x, int64_t i, float (&values)[N]) {
  if constexpr (N == 8) {
    if (x.format == Format::f32) {
      const float4 low = x.as<float>().template load<float4>(i);
      const float4 high = x.as<float>().template load<float4>(i + 4);
      values[0] = low.x, values[1] = low.y, values[2] = low.z, values[3] = low.w;
      values[4] = high.x, values[5] = high.y, values[6] = high.z, values[7] = high.w;
      return;
    }
  }
  loadFloats<N>(x, i, values);
}

FIGMENT_DEVICE uint32_t narrowPair(float low, float high, bool bf16) {
  return bf16 ? packPair<Bf16>(low, high) : packPair<F16>(low, high);
}

template <int N>
FIGMENT_DEVICE void storeFloats(const FloatResults<float>& y, int64_t i, const float (&values)[N]) {
  if constexpr (N == 1) {
    y.set(i, values[0]);
  } else if (N == 4 && y.format == Format::f32) {
    y.as<float>().store(i, make_float4(values[0], values[1], values[2], values[3]));
  } else if constexpr (N == 4) {
    const bool bf16 = y.format == Format::bf16;
    y.as<uint16_t>().store(i, make_uint2(narrowPair(values[0], values[1], bf16),
                                         narrowPair(values[2], values[3], bf16)));
  } else {
    const bool bf16 = y.format == Format::bf16;
    y.as<uint16_t>().store(
        i,
        make_uint4(narrowPair(values[0], values[1], bf16), narrowPair(values[2], values[3], bf16),
                   narrowPair(values[4], values[5], bf16), narrowPair(values[6], values[7], bf16)));
  }
}

/// How many floats a kernel moves at once along rows of `cols`, given its large operands and those
/// of one row, whose formats do not count.
inline int vectorElements(int64_t cols, std::initializer_list<const Operand*> large,
                          std::initializer_list<const Operand*> small = {}) {
  int n = 8;
  for (const Operand* operand : large)
    if (operand->format == Format::f32) n = 4;
  if (cols % n != 0) n = 4;
  if (cols % n != 0) return 1;
  const auto aligned = [n](const Operand* operand) {
    const size_t bytes = n * formatBytes(operand->format);
    return reinterpret_cast<uintptr_t>(operand->data) % (bytes < 16 ? bytes : 16) == 0;
  };
  for (const Operand* operand : large)
    if (!aligned(operand)) return 1;
  for (const Operand* operand : small)
    if (!aligned(operand)) return 1;
  return n;
}

/// Calls f.template operator()<N>() for one of the three.
template <class F>
void withVectors(int n, F&& f) {
  if (n == 8) return f.template operator()<8>();
  if (n == 4) return f.template operator()<4>();
  f.template operator()<1>();
}

/// Preference of fast variants for floats of at most 32 bits; f64 is the plain ones'.
constexpr int kFastPreference = 10;
inline int supportsFloats(const OpCall& call) {
  const Format format = call.in[0].format;
  const bool floats = format == Format::f32 || format == Format::bf16 || format == Format::f16;
  return floats && !call.in[0].empty() ? kFastPreference : -1;
}

}  // namespace figment::cuda
