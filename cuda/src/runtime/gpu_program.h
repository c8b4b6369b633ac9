// A verified program on a GPU: its constants in device memory, and the graphs that replay it.
#pragma once

#include <cuda_runtime.h>

#include <atomic>
#include <memory>
#include <vector>

#include "runtime/backend_calls.h"

namespace figment::cuda {

class GpuDevice;

/// Records [begin, end) as a graph of their launches.
struct RecordedPart {
  uint32_t begin;
  uint32_t end;
  cudaGraphExec_t graph = nullptr;
};

/// The launches of one program for one set of addresses.
struct Recording {
  std::vector<void*> states;
  uint64_t workspaces = 0;  ///< the device's workspaces when it was recorded
  std::vector<RecordedPart> parts;
  uint64_t lastUse = 0;

  Recording() = default;
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording();
};

struct GpuProgram : DescribedProgram {
  GpuProgram(GpuDevice& device, std::unique_ptr<Program> program);
  ~GpuProgram();

  GpuDevice& device;

  /// Constants, then a place of 8 bytes for each input that may travel with the call.
  std::byte* block = nullptr;
  uint64_t blockBytes = 0;
  uint64_t parametersAt = 0;
  uint64_t constantBytes = 0;
  uint64_t leastScratch = 0;  ///< for the kernels of any one record
  /// For those of several records that run at once, if there is room; any thread may ask.
  std::atomic<uint64_t> scratchBytes = 0;
  bool uploaded = false;    ///< the constants, by the first run: loading has no claim to the stream
  bool fallible = false;    ///< some record may fail because of its numbers
  bool recordable = false;  ///< its runs can be recorded and replayed

  // Of replays: fixed places of inputs and outputs, so that addresses are those of the recording.
  std::atomic<std::byte*> fixed = nullptr;  ///< any thread may ask whether it is there
  uint64_t fixedBytes = 0;
  std::vector<uint64_t> inputAt, outputAt;
  std::vector<std::unique_ptr<Recording>> recordings;
  uint64_t runs = 0;  ///< that were not replayed and came to their end
};

/// Bytes, up to whole places of the allocator.
uint64_t scratchOf(const ProgramRecord& record);

}  // namespace figment::cuda
