// Attention of few queries to many keys, as when text is decoded from a cache: the keys in parts,
// so that every multiprocessor has some, and the parts' sums added afterwards, in their order.
#pragma once

#include "../../device/launch.h"

namespace figment::cuda {

/// What the parts leave: of each part and query [b,h,sq] the sum of weighted values of d floats,
/// and the highest product with the sum of weights.
struct Parts {
  Global<float> sums, statistics;
  int64_t queries;
  int keys;   ///< of a part, a multiple of every instance's block
  int count;  ///< of parts
};

/// The instances of one format, T, each in a file of its own.
template <class T>
void runFlashParts(const OpCall& call, const Parts& parts, Launcher& launcher);

}  // namespace figment::cuda
