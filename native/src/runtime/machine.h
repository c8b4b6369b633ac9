// How much of the machine this process may use: cores by affinity, siblings and cgroup quota;
// memory by what is installed and the cgroup limit.
#pragma once

#include <cstdint>

namespace figment {

/// Physical cores that this process may run on, at least 1.
int usableCores();

/// Bytes of memory that this process may use; 0 when unknown.
uint64_t usableMemory();

}  // namespace figment
