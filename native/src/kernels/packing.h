// Packing as a step of its own: operands that a variant reads in another order than they lie in, of
// which the runtime keeps a packed copy for as long as they do not change
// (runtime/packed_states.h).
#pragma once

#include "kernels/kernel.h"

namespace figment {

/// Up to this many rows to a product, packing the other factor takes more than some 5 % of its
/// time, and a copy is worth its memory (see native/NOTES.md).
constexpr int64_t kKeptRows = 512;

/// The form in which a call reads one of its operands.
struct Packing {
  static constexpr int kNumbers = 16;

  int operand = -1;  ///< which input; negative: none is worth a copy
  size_t bytes = 0;
  /// All that the packed bytes depend on besides the variant and the operand's elements.
  int64_t layout[kNumbers] = {};

  bool operator==(const Packing&) const = default;
};

/// How a variant packs.
struct Packer {
  const char* op;
  const char* variant;
  /// A pure function of the call, as Variant::supports is.
  Packing (*packing)(const OpCall& call);
  /// Packs into Packing::bytes at `to`, which is 64-byte aligned, with the scratch memory of the
  /// call. The results of Variant::run have the same bits with it as without.
  void (*pack)(const OpCall& call, std::byte* to, Context& context);
};

struct RegisterPacker {
  explicit RegisterPacker(const Packer& packer);
#ifdef FIGMENT_ISA_FILE
  explicit RegisterPacker(Packer&&) = delete;  // as RegisterVariant
#endif
};

/// What Packer::pack made of an operand of the current record. Null: the kernel packs by itself, in
/// scratch memory.
const std::byte* packedOperand(const Context& context);

}  // namespace figment
