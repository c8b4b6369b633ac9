// The instructions of the tile interpreter: each block function computes one opcode for the
// elements of one tile. An instruction set is one table of them; everything else is shared.
#pragma once

#include "../params/elementwise.generated.h"
#include "program.h"

namespace figment::elementwise {

/// Most elements of a tile: a buffer of 2 KiB, so that a dozen live ones stay in the first cache.
constexpr int kTileElements = 512;

/// dst may be the same pointer as a source, element for element. Sources that the opcode does not
/// have are null.
using Block = void (*)(void* dst, const void* a, const void* b, const void* c, int count);

/// Two f32 operations in one pass, dst = (a first b) second c: a store and a load less.
constexpr int kPairFirst = 5;   ///< add, sub, mul, maximum, minimum
constexpr int kPairSecond = 6;  ///< the same, and c - (a first b)
constexpr int kReverseSub = 5;

/// Place of an opcode in the pair table; -1 when it has none.
constexpr int pairIndex(Opcode op) {
  switch (op) {
    case Opcode::kAdd:
      return 0;
    case Opcode::kSub:
      return 1;
    case Opcode::kMul:
      return 2;
    case Opcode::kMaximum:
      return 3;
    case Opcode::kMinimum:
      return 4;
    default:
      return -1;
  }
}

struct BlockTable {
  Block f32[kOpcodeCount];  ///< by opcode; null where it has no arithmetic
  Block i32[kOpcodeCount];
  Block pair[kPairFirst][kPairSecond];
  Block castToI32, castToF32;
  Block
      load[kFormatCount];  ///< from stored elements to register elements; null where they are equal
  Block store[kFormatCount];                               ///< the way back
  void (*splat)(void* dst, const void* value, int count);  ///< one 32-bit value to all
  /// A copy past the caches, for results that do not fit in them.
  void (*stream)(void* dst, const void* src, size_t bytes);
  void (*streamFence)();
};

/// True when registers and memory hold the same 32 bits.
constexpr bool isNative(Format format) { return format == Format::f32 || format == Format::i32; }

/// The fast interpreter, with the blocks of one instruction set.
void runTiles(const OpCall& call, Context& context, const BlockTable& table);
size_t tileScratch(const OpCall& call, int threads, const BlockTable& table);
/// Preference: everything without f64, which only the reference computes.
bool tilesSupport(const OpCall& call);

}  // namespace figment::elementwise
