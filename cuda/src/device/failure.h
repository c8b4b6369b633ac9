// How a kernel says that a number makes its work impossible: an index out of range, a value that is
// not finite. Of all that are found in one run the one of the earliest record is kept, and of that
// record the smallest position, so that the message does not depend on timing. The host asks before
// state is written, and words it with the describer that the operation registered.
#pragma once
#ifndef __CUDACC__
#include <string>
#endif
#include "platform.h"

namespace figment {
struct OpCall;
}

namespace figment::cuda {

struct DeviceFailure {
  uint32_t lock;
  uint32_t set;
  uint32_t record;
  uint32_t operand;  ///< which one, as the kernel counts
  int64_t position;
  double value;
};

struct FailureSink {
  DeviceFailure* failure;
  uint32_t record;

#ifdef FIGMENT_KERNELS
  FIGMENT_DEVICE void report(uint32_t operand, int64_t position, double value) const {
#ifdef __CUDACC__
    while (atomicCAS(&failure->lock, 0u, 1u) != 0u) {
    }
    __threadfence();
    volatile DeviceFailure* kept = failure;
#else
    DeviceFailure* kept = failure;
#endif
    const bool earlier =
        !kept->set || record < kept->record ||
        (record == kept->record &&
         (operand < kept->operand || (operand == kept->operand && position < kept->position)));
    if (earlier) {
      kept->set = 1;
      kept->record = record;
      kept->operand = operand;
      kept->position = position;
      kept->value = value;
    }
#ifdef __CUDACC__
    __threadfence();
    atomicExch(&failure->lock, 0u);
#endif
  }
#endif
};
#ifndef __CUDACC__  // kernels do without strings, which nvcc parses three times for each file
struct FailureText {
  const char* code;
  std::string message;
};

/// Registers the words for an operation's failures, at file scope.
struct RegisterFailure {
  RegisterFailure(const char* op, FailureText (*describe)(const OpCall&, const DeviceFailure&));
};
/// Whether the operation registered words: its kernels may report failures.
bool mayFail(const char* op);
FailureText describeFailure(const char* op, const OpCall& call, const DeviceFailure& failure);
#endif
}  // namespace figment::cuda
