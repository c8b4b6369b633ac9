// A register of the interpreter for one thread, and how a group of elements comes into it from
// memory and goes back.
#pragma once

#include "../../device/memory.h"
#include "../../device/number.h"
#include "rows.h"

namespace figment::cuda::elementwise {

/// Bytes of a register of one thread.
constexpr int kRegisterBytes = 16;
constexpr int kRegisterWords = 4;

struct Access {
  Global<uint8_t> data;
  Strides strides;
  Format format;
  bool vector;  ///< whole groups move at once
};

/// A register of one thread: its group's elements.
template <bool wide>
struct Group {
  static constexpr int kElements = wide ? 2 : 4;
  uint32_t words[kRegisterWords];

  template <class T>
  FIGMENT_DEVICE T get(int i) const {
    if constexpr (sizeof(T) == 8)
      return bitsToDouble(uint64_t(words[(2 * i + 1) % kRegisterWords]) << 32 |
                          words[2 * i % kRegisterWords]);
    else if constexpr (std::is_same_v<T, float>)
      return bitsToFloat(words[wide ? 2 * i : i]);
    else
      return T(words[wide ? 2 * i : i]);
  }
  FIGMENT_DEVICE void set(int i, float x) { words[wide ? 2 * i : i] = floatToBits(x); }
  FIGMENT_DEVICE void set(int i, int32_t x) { words[wide ? 2 * i : i] = uint32_t(x); }
  FIGMENT_DEVICE void set(int i, double x) {
    const uint64_t bits = doubleToBits(x);
    words[2 * i % kRegisterWords] = uint32_t(bits);
    words[(2 * i + 1) % kRegisterWords] = uint32_t(bits >> 32);
  }
};

template <size_t bytes>
struct VectorOf;
template <>
struct VectorOf<2> {
  using Type = uint16_t;
};
template <>
struct VectorOf<4> {
  using Type = uint32_t;
};
template <>
struct VectorOf<8> {
  using Type = uint2;
};
template <>
struct VectorOf<16> {
  using Type = uint4;
};

/// Elements of T as they are stored, of which `count` exist; an element of 8 bytes moves alone.
template <class T, int elements>
FIGMENT_DEVICE void fetch(const Access& access, int64_t first, int count, T (&raw)[elements]) {
  if constexpr (sizeof raw <= 16) {
    if (access.vector && count == elements) {
      const auto all =
          access.data.load<typename VectorOf<sizeof raw>::Type>(first * int64_t(sizeof(T)));
      __builtin_memcpy(raw, &all, sizeof raw);
      return;
    }
  }
  FIGMENT_UNROLL
  for (int i = 0; i < elements; i++)
    raw[i] = i < count
                 ? access.data.load<T>((first + i * access.strides.inner) * int64_t(sizeof(T)))
                 : T();
}
template <class T, int elements>
FIGMENT_DEVICE void put(const Access& access, int64_t first, int count, const T (&raw)[elements]) {
  if constexpr (sizeof raw <= 16) {
    if (access.vector && count == elements) {
      typename VectorOf<sizeof raw>::Type all;
      __builtin_memcpy(&all, raw, sizeof raw);
      access.data.store(first * int64_t(sizeof(T)), all);
      return;
    }
  }
  FIGMENT_UNROLL
  for (int i = 0; i < elements; i++)
    if (i < count)
      access.data.store((first + i * access.strides.inner) * int64_t(sizeof(T)), raw[i]);
}

template <class T, bool wide, class Convert>
FIGMENT_DEVICE void loadAs(const Access& access, int64_t first, int count, Group<wide>& group,
                           Convert convert) {
  alignas(16) T raw[Group<wide>::kElements];
  fetch(access, first, count, raw);
  FIGMENT_UNROLL
  for (int i = 0; i < Group<wide>::kElements; i++) group.set(i, convert(raw[i]));
}
template <class T, class Register, bool wide, class Convert>
FIGMENT_DEVICE void storeAs(const Access& access, int64_t first, int count,
                            const Group<wide>& group, Convert convert) {
  alignas(16) T raw[Group<wide>::kElements];
  FIGMENT_UNROLL
  for (int i = 0; i < Group<wide>::kElements; i++)
    raw[i] = convert(group.template get<Register>(i));
  put(access, first, count, raw);
}

template <bool wide>
FIGMENT_DEVICE void loadGroup(const Access& access, int64_t first, int count, Group<wide>& group) {
  switch (access.format) {
    case Format::f32:
      return loadAs<uint32_t>(access, first, count, group,
                              [](uint32_t x) { return bitsToFloat(x); });
    case Format::bf16:
      return loadAs<uint16_t>(access, first, count, group,
                              [](uint16_t x) { return widen(Bf16{x}); });
    case Format::f16:
      return loadAs<uint16_t>(access, first, count, group,
                              [](uint16_t x) { return widen(F16{x}); });
    case Format::i32:
      return loadAs<uint32_t>(access, first, count, group, [](uint32_t x) { return int32_t(x); });
    case Format::i64:
      return loadAs<uint64_t>(access, first, count, group, [](uint64_t x) { return int32_t(x); });
    case Format::i8:
      return loadAs<int8_t>(access, first, count, group, [](int8_t x) { return int32_t(x); });
    case Format::f64:
      if constexpr (wide)
        return loadAs<uint64_t>(access, first, count, group,
                                [](uint64_t x) { return bitsToDouble(x); });
      return;
    default:
      return loadAs<uint8_t>(access, first, count, group, [](uint8_t x) { return int32_t(x); });
  }
}

template <bool wide>
FIGMENT_DEVICE void storeGroup(const Access& access, int64_t first, int count,
                               const Group<wide>& group) {
  switch (access.format) {
    case Format::f32:
    case Format::i32:
      return storeAs<uint32_t, int32_t>(access, first, count, group,
                                        [](int32_t x) { return uint32_t(x); });
    case Format::bf16:
      return storeAs<uint16_t, float>(access, first, count, group,
                                      [](float x) { return narrow<Bf16>(x).bits; });
    case Format::f16:
      return storeAs<uint16_t, float>(access, first, count, group,
                                      [](float x) { return narrow<F16>(x).bits; });
    case Format::i64:
      return storeAs<uint64_t, int32_t>(access, first, count, group,
                                        [](int32_t x) { return uint64_t(int64_t(x)); });
    case Format::boolean:
      return storeAs<uint8_t, int32_t>(access, first, count, group,
                                       [](int32_t x) { return uint8_t(x != 0); });
    case Format::f64:
      if constexpr (wide)
        return storeAs<uint64_t, double>(access, first, count, group,
                                         [](double x) { return doubleToBits(x); });
      return;
    default:
      return storeAs<uint8_t, int32_t>(access, first, count, group,
                                       [](int32_t x) { return uint8_t(x); });
  }
}

}  // namespace figment::cuda::elementwise
