// What the derivative of attention needs of each query: how its products become weights, and Σ
// out·dout.
#pragma once

#include "any_floats.h"
#include "plain_rows.h"
#include "problem.h"

namespace figment::cuda {

/// Floats for each query [b,h,sq] beside each other: the shift of its Softmax, then Σ out·dout.
constexpr int kStatistics = 2;

/// The kernel by queries changes those of queries whose scores are large, for the one by keys.
struct QueryStatistics {
  Global<float> pairs;
  Global<float> bases;  ///< of Softmax

  /// Those of a head on.
  FIGMENT_DEVICE QueryStatistics from(int64_t query) const {
    return {pairs.from(query * kStatistics), bases.from(query)};
  }
  FIGMENT_DEVICE float shift(int64_t query) const { return pairs[query * kStatistics]; }
  FIGMENT_DEVICE float dot(int64_t query) const { return pairs[query * kStatistics + 1]; }
  FIGMENT_DEVICE void set(int64_t query, const Softmax<float>& softmax) const {
    pairs[query * kStatistics] = softmax.shift;
    bases[query] = softmax.base;
  }
  FIGMENT_DEVICE void set(int64_t query, const Softmax<float>& softmax, float dot) const {
    set(query, softmax);
    pairs[query * kStatistics + 1] = dot;
  }
};

/// Whether the log-sum-exp, in units of log 2, or a sum of weights that were made with it are too
/// coarse: then weights are made of the products themselves. Most: what is not coarse yet. Off: how
/// far a sum may be from 1. Queries that see no key, and NaN, are no reason.
struct Coarse {
  float most, off;
  FIGMENT_DEVICE bool shift(float shift) const { return fabsf(shift) > most && shift < INFINITY; }
  FIGMENT_DEVICE bool sum(float sum, float shift) const {
    return fabsf(sum - 1) > off && shift < INFINITY;
  }
};

inline size_t statisticsBytes(const OpCall& call) {
  return size_t(call.in[4].elements()) * (kStatistics + 1) * formatBytes(call.in[4].format);
}
/// Where they lie: at the start of the scratch.
QueryStatistics statisticsIn(const OpCall& call, const Launcher& launcher);
/// Queues the kernel that writes them, with bases of 0.
QueryStatistics rowStatistics(const OpCall& call, Launcher& launcher);

}  // namespace figment::cuda
