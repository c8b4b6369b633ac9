// How a tile of the iteration space maps to the memory of each operand. Dimensions are sorted and
// merged first; then the space is split into an outer part, walked block by block, and an inner
// part whose elements are numbered row-major and cut into tiles.
#pragma once

#include "blocks.h"

namespace figment::elementwise {

constexpr int kMaxOperands = kMaxInputs + kMaxOutputs;

/// Merged dimensions of all operands (inputs first) in the order of the first output's memory.
struct Space {
  int rank = 0;
  int operands = 0;
  int64_t dims[kMaxRank];
  int64_t strides[kMaxOperands][kMaxRank];
};

/// Where the elements of a block lie within one operand.
struct Access {
  enum Kind : uint8_t {
    kDirect,  ///< in order without gaps: used in place
    kRepeat,  ///< a short pattern, the same in every tile: gathered once a block
    kRows,    ///< anything else: gathered or scattered row by row for each tile
  };
  Kind kind = kDirect;
  int rank = 0;  ///< of the operand's own merged view of the inner dimensions
  int64_t dims[kMaxRank];
  int64_t strides[kMaxRank];
};

struct Tiling {
  Space space;
  int outerRank = 0;
  int64_t outerCount = 1;
  int64_t inner = 1;  ///< elements of a block
  int tile = kTileElements;
  Access access[kMaxOperands];

  int64_t tilesPerBlock() const { return (inner + tile - 1) / tile; }
};

Space mergeDimensions(const OpCall& call);

/// Chooses the split and the size of a tile. Elements must not be zero in number.
void chooseTiling(const OpCall& call, int steps, Tiling& tiling);

/// Copies elements [position, position + count) of a block, each `width` bytes, between an operand
/// and a tile buffer.
void gatherRows(const Access& access, int width, void* buffer, const void* operand,
                int64_t position, int count);
void scatterRows(const Access& access, int width, const void* buffer, void* operand,
                 int64_t position, int count);

}  // namespace figment::elementwise
