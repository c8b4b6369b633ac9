// What a call takes on each variant that it may run on.
#pragma once

#include <vector>

#include "cpu_device.h"

namespace figment {

/// True when a record's call can be measured: it has candidates and works on floats alone, whose
/// values change nothing about the work.
bool measurable(const ProgramRecord& record);

/// Microseconds of each candidate of a measurable record, in order; negative for one that failed.
/// The candidates take turns on operands of their own; the median counts. A time is that of the
/// processor, so that other work on the machine hardly matters: of the serial parts as it is, of
/// each parallel part as its pieces take it on the device's threads when nobody disturbs them.
/// Holds the calling thread for up to about two seconds, or three turns of slow candidates.
/// Exclusive, like CpuDevice::run; throws Error when there is no memory.
std::vector<double> measureCandidates(CpuDevice& device, const ProgramRecord& record);

}  // namespace figment
