// Register code prepared for tiles: values instead of registers, a buffer for each live value, and
// results that are computed straight into their output where nothing still needs what lies there.
#pragma once

#include "layout.h"

namespace figment::elementwise {

/// Slots are pointers that each tile resolves: one for each input, then each output, then buffers.
struct Step {
  Block block;               ///< null for a chain
  int16_t dst, a, b, c;      ///< slots; -1 when there is no such source
  int16_t links, linkCount;  ///< of a chain, which begins with `a`
  bool stream;               ///< its result goes past the caches
};

struct InputUse {
  bool used = false;      ///< by anything
  bool computed = false;  ///< as a register value, not only as bytes to copy
  Block widen = nullptr;  ///< from the stored format; null when registers hold the same bits
  int raw = -1;           ///< byte offset of the buffer for gathered elements
  int converted = -1;     ///< byte offset of the buffer for widened elements
};

struct OutputUse {
  enum Kind : uint8_t {
    kInPlace,  ///< the last step writes it
    kCopy,     ///< the value's bytes are copied
    kNarrow,   ///< the value is converted to the output's format
  };
  Kind kind = kCopy;
  bool streamed = false;
  bool fromRaw = false;  ///< copy: `slot` is an input whose stored bytes are copied
  int16_t slot = 0;      ///< of the value
  Block narrow = nullptr;
  int raw = -1;  ///< byte offset of the buffer for narrowed elements on their way to strided memory
};

struct Constant {
  uint32_t bits;
  int16_t slot;
};

struct Plan {
  Tiling tiling;
  int stepCount = 0;
  int linkCount = 0;
  int constantCount = 0;
  int slots = 0;
  int buffers = 0;       ///< register buffers; their slots follow inputs and outputs
  size_t bytes = 0;      ///< scratch of one worker
  bool fetches = false;  ///< the next tile's inputs while one is computed
  InputUse inputs[kMaxInputs];
  OutputUse outputs[kMaxOutputs];
  Step steps[kMaxInstructions];
  Link links[kMaxInstructions];
  Constant constants[kMaxInstructions];

  /// Byte offset of a register buffer, or of what follows the last.
  int bufferOffset(int buffer) const;
};

constexpr int kBufferBytes = kTileElements * 4;

void buildPlan(const OpCall& call, const BlockTable& table, Plan& plan);

}  // namespace figment::elementwise
