// Elements between memory and registers of the current text. C++ text reaches memory through the
// views of device/memory.h, in which an address counts bytes from the operand's first; PTX by
// address.
#pragma once

#include <vector>

#include "kernels/kernel.h"
#include "text.h"

namespace figment::cuda::elementwise {

/// The bits of one element, small integers widened to 32.
I32 loadElement(Format format, int operand, const U64& address);
void storeElement(Format format, int operand, const U64& address, const I32& bits);

/// So many words from the address on, in pieces of 16, 8 or 4 bytes.
std::vector<I32> loadWords(int operand, const U64& address, int count);
void storeWords(int operand, const U64& address, const std::vector<I32>& words);

/// Elements of whole words, as loadElement() would give them, and back.
std::vector<I32> unpack(Format format, const std::vector<I32>& words);
std::vector<I32> pack(Format format, const std::vector<I32>& elements);

}  // namespace figment::cuda::elementwise
