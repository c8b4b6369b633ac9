#include "../device/launch.h"
#include "multiply_adds.h"

namespace figment::cuda {
namespace {

/// Multiply-adds in flight in a thread: enough to hide their latency.
constexpr int kChains = 16;
#ifdef FIGMENT_EMULATED
constexpr int kTurns = 4;
#else
constexpr int kTurns = 4096;
#endif

FIGMENT_KERNEL(kMultiplyAddThreads) multiplyAddKernel(Global<float> results, float factor) {
  float chain[kChains];
  FIGMENT_UNROLL
  for (int c = 0; c < kChains; c++) chain[c] = float(threadInGrid() + c);
  for (int i = 0; i < kTurns; i++) {
    FIGMENT_UNROLL
    for (int c = 0; c < kChains; c++) chain[c] = fmaf(chain[c], factor, factor);
  }
  float sum = 0;
  FIGMENT_UNROLL
  for (int c = 0; c < kChains; c++) sum += chain[c];
  results[threadInGrid()] = sum;  // or the compiler would leave the work out
}

}  // namespace

double queueMultiplyAdds(Launcher& launcher, int64_t blocks, float* results) {
  const int64_t threads = blocks * kMultiplyAddThreads;
  launch<multiplyAddKernel>(launcher, {blocks}, kMultiplyAddThreads, 0,
                            Global<float>(results, threads), 0.5f);
  return 2.0 * double(threads) * kTurns * kChains;
}

}  // namespace figment::cuda
