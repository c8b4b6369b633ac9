// What a GPU's ceiling of arithmetic is measured with.
#pragma once

#include "launcher.h"

namespace figment::cuda {

constexpr int kMultiplyAddThreads = 256;

/// Queues f32 multiply-adds in registers, by so many blocks of threads that write a number each to
/// `results`; answers how many operations they are.
double queueMultiplyAdds(Launcher& launcher, int64_t blocks, float* results);

}  // namespace figment::cuda
