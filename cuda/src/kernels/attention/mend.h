// What calls that hide keys from queries do in the end. What is not finite among hidden keys
// reaches no score, but sums over tiles multiply hidden values, and hidden queries in derivatives,
// by weights of 0, which leaves NaN. Such rows of results are computed again plainly, a warp for
// each, of what their query (their key) sees.
#pragma once

#include "row_statistics.h"

namespace figment::cuda {

/// After all that writes `out` and `lse`. Calls that hide nothing are left alone, here and below.
void mendAttention(const OpCall& call, Launcher& launcher);

/// What mendAttentionGrad takes of the scratch: statistics of queries, and two numbers of each
/// head.
inline size_t mendGradBytes(const OpCall& call) {
  const auto& p = call.as<AttentionGradParams>();
  return statisticsBytes(call) + size_t(p.b) * p.h * 2 * sizeof(uint32_t);
}
/// After all that writes the derivatives or reads the scratch.
void mendAttentionGrad(const OpCall& call, Launcher& launcher);

}  // namespace figment::cuda
