// What the derivative of attention needs of each query: the log-sum-exp of its scores and Σ
// out·dout.
#pragma once

#include "any_floats.h"
#include "plain_rows.h"
#include "problem.h"

namespace figment::cuda {

/// Floats for each query [b,h,sq]: the log-sum-exp in units of log 2 (+Inf where no key is seen, so
/// that all weights become 0), then Σ out·dout.
constexpr int kStatistics = 2;

/// What the flash kernels keep of queries in scratch, or the plain one, which has a share too.
inline size_t statisticsBytes(const OpCall& call) {
  return size_t(call.in[4].elements()) * (kStatistics + 1) * formatBytes(call.in[4].format);
}
/// Queues the kernel that writes them to the start of the scratch.
Global<const float> rowStatistics(const OpCall& call, Launcher& launcher);

/// The derivative by one row of a head, of its keys or its queries, plainly.
template <bool kOfKeys, class Plain>
FIGMENT_DEVICE void gradRow(const AttentionProblem& p, const Plain& plain,
                            const Global<const float>& statistics, int64_t task, int row) {
  const auto softmaxOf = [&](int64_t query) {
    return Softmax<float>{statistics[query * kStatistics], 0};
  };
  const auto rowDotOf = [&](int64_t query) { return statistics[query * kStatistics + 1]; };
  if constexpr (kOfKeys) {
    plain.keyRow(p, softmaxOf, rowDotOf, task * p.sk + row);
  } else {
    const int64_t query = task * p.sq + row;
    plain.queryRow(p, softmaxOf(query), rowDotOf(query), query);
  }
}

}  // namespace figment::cuda
