// What kernel.h takes from the standard library where nvcc compiles it. Kernels for GPUs only name
// strings, and nvcc parses every header three times for each file: <string> and <atomic> would take
// it longer than most kernels do.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <iosfwd>
#include <type_traits>
