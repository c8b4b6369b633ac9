// What this GPU reaches at best: f32 multiply-adds in registers, and copies from one place of its
// memory to another, by events.
#include <algorithm>

#include "check.h"
#include "gpu_device.h"
#include "multiply_adds.h"
#include "runtime/instruction_sets.h"

namespace figment::cuda {
namespace {

constexpr int kBlocksEach = 8;  // on a multiprocessor
constexpr int kRounds = 5;
#ifdef FIGMENT_EMULATED
constexpr uint64_t kFootprints[] = {uint64_t(1) << 16};
#else
/// Of source and target together: within the second-level cache of every GPU, of large ones, of
/// none.
constexpr uint64_t kFootprints[] = {uint64_t(1) << 20, uint64_t(1) << 24, uint64_t(1) << 30};
#endif

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
  withMemory(uint64_t(blocks) * kMultiplyAddThreads * sizeof(float), [&](std::byte* memory) {
    double operations = 0;
    const double micros = bestMicros(stream_, [&] {
      operations = queueMultiplyAdds(launcher, blocks, reinterpret_cast<float*>(memory));
    });
    ceilings.push_back({isaName(bestIsa()), 0, operations / micros / 1e3});
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
