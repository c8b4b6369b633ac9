// The emulated twins of src/device/instructions.h.
#pragma once

#include "shared.h"

namespace figment::cuda::emulator {

void mma16816(bool half, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
void mmaTf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
uint32_t roundTf32(float x);
/// `row` is what this lane's address names.
void loadMatrices(uint32_t (&words)[4], const uint4& row, bool transposed);

/// Puts off a copy into shared memory until it is waited for; until then nobody may touch the
/// bytes.
void beginCopy(std::byte* to, const void* data, uint32_t bytes);
void commitCopies();
void waitForCopies(int groups);

template <class T, class V>
void copyAsync(const SharedArray<T>& to, int64_t index, const V& value) {
  to.check(index, sizeof(V) / sizeof(T), sizeof(V));
  beginCopy(reinterpret_cast<std::byte*>(to.pointer(index)), &value, sizeof(V));
}

}  // namespace figment::cuda::emulator
