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

/// An f32 operation on the running value of a chain; the reverse ones have it on the right.
enum class LinkOp : uint8_t {
  kAdd,
  kSub,
  kReverseSub,
  kMul,
  kDiv,
  kReverseDiv,
  kMaximum,
  kMinimum,
  kNeg,
  kAbs,
  kSquare,
  kSqrt,
};

struct Link {
  LinkOp op;
  bool repeats;   ///< the other operand's first element stands for all
  int16_t other;  ///< slot; -1 for functions of the running value alone
};

/// dst = a, then every link in turn, in one pass. dst may be one of the operands, unless it is to
/// be written past the caches.
using Chain = void (*)(void* dst, const void* a, const Link* links, int linkCount,
                       void* const* slots, int count, bool stream);

struct BlockTable {
  Block f32[kOpcodeCount];  ///< by opcode; null where it has no arithmetic
  Block i32[kOpcodeCount];
  Chain chain;
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
