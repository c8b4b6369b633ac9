// What the derivative of attention needs of each query: the log-sum-exp of its scores and Σ
// out·dout.
#pragma once

#include "any_floats.h"
#include "problem.h"

namespace figment::cuda {

/// Floats for each query [b,h,sq]: the log-sum-exp in units of log 2 (+Inf where no key is seen, so
/// that all weights become 0), then Σ out·dout.
constexpr int kStatistics = 2;

inline size_t statisticsBytes(const OpCall& call) {
  return size_t(call.in[4].elements()) * kStatistics * sizeof(float);
}
/// Queues the kernel that writes them to the start of the scratch.
Global<const float> rowStatistics(const OpCall& call, Launcher& launcher);

}  // namespace figment::cuda
