// Shared memory of the block that the emulator is running: arrays whose accesses are checked for
// bounds, alignment and races (races.h).
#pragma once

#include <string>

#include "device.h"

namespace figment::cuda::emulator {

/// The piece of the block's shared memory that the declaration `key` stands for: the same for all
/// threads, and whenever they come by.
std::byte* sharedBytes(const void* key, size_t bytes);
std::byte* dynamicSharedBytes(size_t offset, size_t bytes);
/// As shared-memory instructions name it.
uint32_t sharedAddress(const std::byte* at);
void noteRead(const std::byte* at, size_t bytes);
void noteWrite(const std::byte* at, size_t bytes);
void noteAtomic(const std::byte* at, size_t bytes);
[[noreturn]] void refuseShared(int64_t index, int64_t elements, int64_t count, size_t size);

template <class T>
class SharedArray {
 public:
  SharedArray() = default;
  SharedArray(T* data, int64_t count) : data_(data), count_(count) {
    static_assert(sizeof(T) >= 2, "shared arrays have elements of at least two bytes");
  }

  /// An element: reading converts it, assigning writes it.
  class Reference {
   public:
    Reference(const SharedArray& array, int64_t index) : array_(array), index_(index) {}
    operator T() const { return array_.template load<T>(index_); }
    T operator=(T value) const {
      array_.template store<T>(index_, value);
      return value;
    }
    T operator=(const Reference& other) const { return *this = T(other); }
    T operator+=(T value) const { return *this = T(T(*this) + value); }
    T operator-=(T value) const { return *this = T(T(*this) - value); }
    T operator*=(T value) const { return *this = T(T(*this) * value); }

   private:
    const SharedArray& array_;
    int64_t index_;
  };
  Reference operator[](int64_t i) const { return {*this, i}; }

  template <class V>
  V load(int64_t i) const {
    check(i, sizeof(V) / sizeof(T), alignof(V));
    noteRead(bytes(i), sizeof(V));
    V value;
    std::memcpy(&value, data_ + i, sizeof(V));
    return value;
  }
  template <class V>
  void store(int64_t i, const V& value) const {
    check(i, sizeof(V) / sizeof(T), alignof(V));
    noteWrite(bytes(i), sizeof(V));
    std::memcpy(data_ + i, &value, sizeof(V));
  }
  /// An update that cannot race with others of its kind.
  template <class F>
  T atomic(int64_t i, F&& f) const {
    check(i, 1, alignof(T));
    noteAtomic(bytes(i), sizeof(T));
    const T before = data_[i];
    data_[i] = f(before);
    return before;
  }
  SharedArray from(int64_t elements) const {
    return SharedArray(data_ + elements, count_ - elements);
  }
  uint32_t address(int64_t i) const { return sharedAddress(bytes(i)); }
  /// For instructions.h: after a check.
  T* pointer(int64_t i) const { return data_ + i; }
  void check(int64_t i, size_t elements, size_t alignment) const {
    if (i < 0 || i + int64_t(elements) > count_)
      refuseShared(i, int64_t(elements), count_, sizeof(T));
    if (reinterpret_cast<uintptr_t>(data_ + i) % alignment != 0) refuseAlignment(alignment);
  }

 private:
  std::byte* bytes(int64_t i) const {
    return const_cast<std::byte*>(reinterpret_cast<const std::byte*>(data_ + i));
  }
  T* data_ = nullptr;
  int64_t count_ = 0;
};

template <class T>
SharedArray<T> sharedArray(const void* key, int64_t count) {
  return SharedArray<T>(reinterpret_cast<T*>(sharedBytes(key, size_t(count) * sizeof(T))), count);
}

struct DynamicShared {
  template <class T>
  SharedArray<T> view(int64_t byteOffset, int64_t count) const {
    return SharedArray<T>(
        reinterpret_cast<T*>(dynamicSharedBytes(size_t(byteOffset), size_t(count) * sizeof(T))),
        count);
  }
};

}  // namespace figment::cuda::emulator
