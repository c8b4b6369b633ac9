// What kernels on matrix tiles say of themselves, and tests of them.
#pragma once

#include <atomic>

#include "kernels/kernel.h"

namespace figment {

/// Notes that this many pieces of the current record were done in a slower way than its variant's
/// own, because of the numbers in them. Any worker may call it.
void countFallbacks(Context& context, int64_t pieces);

/// For tests: whether kernels on emulated tiles are chosen as those on the hardware's would be.
std::atomic<bool>& emulatedTilesServe();

}  // namespace figment
