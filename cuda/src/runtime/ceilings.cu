// What this GPU reaches at best: f32 multiply-adds in registers, and copies from one place of its
// memory to another, by events.
#include <algorithm>

#include "../device/launch.h"
#include "check.h"
#include "gpu_device.h"
#include "runtime/instruction_sets.h"

namespace figment::cuda {
namespace {

constexpr int kThreads = 256;
/// Multiply-adds in flight in a thread: enough to hide their latency.
constexpr int kChains = 16;
constexpr int kBlocksEach = 8;  // on a multiprocessor
constexpr int kRounds = 5;
#ifdef FIGMENT_EMULATED
constexpr int kTurns = 4;
constexpr uint64_t kFootprints[] = {uint64_t(1) << 16};
#else
constexpr int kTurns = 4096;
/// Of source and target together: within the second-level cache of every GPU, of large ones, of
/// none.
constexpr uint64_t kFootprints[] = {uint64_t(1) << 20, uint64_t(1) << 24, uint64_t(1) << 30};
#endif

FIGMENT_KERNEL(kThreads) multiplyAddKernel(Global<float> results, float factor) {
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

/// The best of several rounds, microseconds.
template <class Queue>
double bestMicros(cudaStream_t stream, Queue&& queue) {
  cudaEvent_t begin = nullptr, end = nullptr;
  const auto free = [&] {
    if (begin) cudaEventDestroy(begin);
    if (end) cudaEventDestroy(end);
  };
  double best = 0;
  try {
    check(cudaEventCreate(&begin), "creating an event");
    check(cudaEventCreate(&end), "creating an event");
    for (int round = 0; round <= kRounds; round++) {
      check(cudaEventRecord(begin, stream), "recording an event");
      queue();
      check(cudaEventRecord(end, stream), "recording an event");
      check(cudaEventSynchronize(end), "waiting for an event");
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, begin, end), "reading an event");
      const double micros = std::max(1e3 * double(milliseconds), 1e-3);
      if (round > 0 && (best == 0 || micros < best)) best = micros;  // the first warms up
    }
  } catch (...) {
    free();
    throw;
  }
  free();
  return best;
}

}  // namespace

std::vector<FigmentCeiling> GpuDevice::measureCeilings() {
  select();
  Launcher launcher(stream_, scratch_.data, failure_, gpu_.multiprocessors, gpu_.sharedPerBlock);
  launcher.setRecord(0, "ceilings");
  std::vector<FigmentCeiling> ceilings;
  const auto withMemory = [&](uint64_t bytes, auto&& use) {
    void* memory = allocate(bytes);
    if (!memory) throw std::bad_alloc();
    try {
      use(static_cast<std::byte*>(memory));
    } catch (...) {
      release(memory, bytes);
      throw;
    }
    release(memory, bytes);
  };

  const int64_t blocks = int64_t(gpu_.multiprocessors) * kBlocksEach;
  const int64_t threads = blocks * kThreads;
  withMemory(uint64_t(threads) * sizeof(float), [&](std::byte* memory) {
    const Global<float> results(reinterpret_cast<float*>(memory), threads);
    const double micros = bestMicros(stream_, [&] {
      launch<multiplyAddKernel>(launcher, {blocks}, kThreads, 0, results, 0.5f);
    });
    ceilings.push_back(
        {isaName(bestIsa()), 0, 2.0 * double(threads) * kTurns * kChains / micros / 1e3});
  });
  for (const uint64_t footprint : kFootprints) {
    withMemory(footprint, [&](std::byte* memory) {
      const double micros = bestMicros(
          stream_, [&] { launcher.copy(memory + footprint / 2, memory, size_t(footprint / 2)); });
      ceilings.push_back({nullptr, footprint, double(footprint) / micros / 1e3});
    });
  }
  return ceilings;
}

}  // namespace figment::cuda
