// Views of memory. On the device they are plain pointers; in the emulator they check every access:
// against the operand's bounds for global memory, against the array's bounds and for races for
// shared memory (two threads, one word, no barrier between).
//
//   Global<const float> x;  x[i], x.load<float4>(i), x.from(elements)
//   FIGMENT_SHARED(float, tile, 256);            // Shared<float> tile, 16-byte aligned
//   FIGMENT_DYNAMIC_SHARED(shared);              // the launch's dynamic bytes, once in a kernel
//   const auto a = shared.view<Bf16>(byteOffset, count);
//
// Elements of shared arrays have at least two bytes. Indices count elements; vectors that load and
// store move must be aligned to their own size.
#pragma once

#include <cstddef>
#include <type_traits>

#include "platform.h"

#ifdef FIGMENT_EMULATED
#include "../../emulator/shared.h"
#endif

namespace figment::cuda {

template <class T>
class Global {
 public:
  Global() = default;
  /// `count` elements from `data` on may be accessed.
  FIGMENT_BOTH Global(T* data, int64_t count)
      : data_(data)
#ifdef FIGMENT_EMULATED
        ,
        count_(count)
#endif
  {
    (void)count;
  }
  /// A view for writing serves as one for reading.
  template <class U>
  requires(std::is_same_v<const U, T>) FIGMENT_BOTH Global(const Global<U>& other)
      : Global(other.address(0), other.count()) {}

  FIGMENT_DEVICE T& operator[](int64_t i) const {
    check(i, 1);
    return data_[i];
  }
  template <class V>
  FIGMENT_DEVICE V load(int64_t i) const {
    check(i, int64_t(sizeof(V) / sizeof(T)));
    return *reinterpret_cast<const V*>(aligned<V>(data_ + i));
  }
  template <class V>
  FIGMENT_DEVICE void store(int64_t i, const V& value) const {
    check(i, int64_t(sizeof(V) / sizeof(T)));
    *reinterpret_cast<V*>(const_cast<void*>(aligned<V>(data_ + i))) = value;
  }
  /// The view that begins so many elements later.
  FIGMENT_BOTH Global from(int64_t elements) const {
#ifdef FIGMENT_EMULATED
    return Global(data_ + elements, count_ - elements);
#else
    return Global(data_ + elements, 0);
#endif
  }
  /// For instructions.h, which checks by itself.
  FIGMENT_BOTH T* address(int64_t i) const { return data_ + i; }
  /// Elements that may be accessed; known to the emulator only.
  FIGMENT_BOTH int64_t count() const {
#ifdef FIGMENT_EMULATED
    return count_;
#else
    return 0;
#endif
  }
  FIGMENT_BOTH explicit operator bool() const { return data_ != nullptr; }

  /// In the emulator, refuses a range that leaves the view.
  FIGMENT_DEVICE void check(int64_t i, int64_t elements) const {
#ifdef FIGMENT_EMULATED
    if (i < 0 || i + elements > count_) emulator::refuseGlobal(i, elements, count_, sizeof(T));
#endif
  }

 private:
  template <class V>
  FIGMENT_DEVICE static const void* aligned(const void* at) {
#ifdef FIGMENT_EMULATED
    if (reinterpret_cast<uintptr_t>(at) % alignof(V) != 0) emulator::refuseAlignment(alignof(V));
#endif
    return at;
  }

  T* data_ = nullptr;
#ifdef FIGMENT_EMULATED
  int64_t count_ = 0;
#endif
};

#ifdef __CUDACC__

template <class T>
class Shared {
 public:
  Shared() = default;
  FIGMENT_DEVICE explicit Shared(T* data) : data_(data) {}
  FIGMENT_DEVICE T& operator[](int i) const { return data_[i]; }
  template <class V>
  FIGMENT_DEVICE V load(int i) const {
    return *reinterpret_cast<const V*>(data_ + i);
  }
  template <class V>
  FIGMENT_DEVICE void store(int i, const V& value) const {
    *reinterpret_cast<V*>(data_ + i) = value;
  }
  FIGMENT_DEVICE Shared from(int elements) const { return Shared(data_ + elements); }
  /// As shared-memory instructions name it.
  FIGMENT_DEVICE uint32_t address(int i) const {
    return uint32_t(__cvta_generic_to_shared(data_ + i));
  }
  FIGMENT_DEVICE T* pointer(int i) const { return data_ + i; }

 private:
  T* data_ = nullptr;
};

#define FIGMENT_SHARED(T, name, count)             \
  __shared__ __align__(16) T name##Storage[count]; \
  const ::figment::cuda::Shared<T> name(name##Storage)
#define FIGMENT_DYNAMIC_SHARED(name)                                \
  extern __shared__ __align__(1024) unsigned char figmentDynamic[]; \
  const ::figment::cuda::DynamicShared name { figmentDynamic }

struct DynamicShared {
  unsigned char* data;
  template <class T>
  FIGMENT_DEVICE Shared<T> view(int byteOffset, int) const {
    return Shared<T>(reinterpret_cast<T*>(data + byteOffset));
  }
};

#elif defined(FIGMENT_EMULATED)

template <class T>
using Shared = emulator::SharedArray<T>;

#define FIGMENT_SHARED(T, name, count)    \
  static char name##Key;                  \
  const ::figment::cuda::Shared<T> name = \
      ::figment::cuda::emulator::sharedArray<T>(&name##Key, count)
#define FIGMENT_DYNAMIC_SHARED(name) const ::figment::cuda::emulator::DynamicShared name

#endif

/// Atomic sums and extremes; each answers what was there before.
#ifdef __CUDACC__
template <class T>
FIGMENT_DEVICE T atomicAddAt(const Global<T>& x, int64_t i, T value) {
  return atomicAdd(x.address(i), value);
}
template <class T>
FIGMENT_DEVICE T atomicAddAt(const Shared<T>& x, int i, T value) {
  return atomicAdd(x.pointer(i), value);
}
template <class T>
FIGMENT_DEVICE T atomicMaxAt(const Global<T>& x, int64_t i, T value) {
  return atomicMax(x.address(i), value);
}
template <class T>
FIGMENT_DEVICE T atomicMinAt(const Global<T>& x, int64_t i, T value) {
  return atomicMin(x.address(i), value);
}
#elif defined(FIGMENT_EMULATED)
template <class T>
T atomicAddAt(const Global<T>& x, int64_t i, T value) {
  const T before = x[i];
  x[i] = before + value;
  return before;
}
template <class T>
T atomicAddAt(const Shared<T>& x, int i, T value) {
  return x.atomic(i, [value](T before) { return T(before + value); });
}
template <class T>
T atomicMaxAt(const Global<T>& x, int64_t i, T value) {
  const T before = x[i];
  if (before < value) x[i] = value;
  return before;
}
template <class T>
T atomicMinAt(const Global<T>& x, int64_t i, T value) {
  const T before = x[i];
  if (value < before) x[i] = value;
  return before;
}
#endif

}  // namespace figment::cuda
