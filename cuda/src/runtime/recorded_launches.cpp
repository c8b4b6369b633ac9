#include "recorded_launches.h"

#include <algorithm>

#include "check.h"
#include "gpu_program.h"

namespace figment::cuda {

Range RecordedLaunches::takeScratch(const ProgramRecord& record) {
  const uint64_t bytes = scratchOf(record);
  if (scratchAt_ + bytes > scratchBytes_) scratchAt_ = 0;
  std::byte* const begin = scratch_ + scratchAt_;
  scratchAt_ += bytes;
  launcher_.setScratch(begin);
  return {begin, begin + bytes};
}

void RecordedLaunches::follow(const std::vector<uint32_t>& launches) {
  std::vector<cudaGraphNode_t> nodes;
  for (const uint32_t launch : launches)
    nodes.insert(nodes.end(), ends_[launch].begin(), ends_[launch].end());
  // A record that queued nothing ends where those before it do.
  std::sort(nodes.begin(), nodes.end());
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
#if CUDART_VERSION >= 13000
  check(cudaStreamUpdateCaptureDependencies(stream_, nodes.data(), nullptr, nodes.size(),
                                            cudaStreamSetCaptureDependencies),
        "recording a program");
#else
  check(cudaStreamUpdateCaptureDependencies(stream_, nodes.data(), nodes.size(),
                                            cudaStreamSetCaptureDependencies),
        "recording a program");
#endif
}

void RecordedLaunches::note() {
  cudaStreamCaptureStatus status;
  const cudaGraphNode_t* nodes = nullptr;
  size_t count = 0;
#if CUDART_VERSION >= 13000
  check(cudaStreamGetCaptureInfo(stream_, &status, nullptr, nullptr, &nodes, nullptr, &count),
        "recording a program");
#else
  check(cudaStreamGetCaptureInfo_v2(stream_, &status, nullptr, nullptr, &nodes, &count),
        "recording a program");
#endif
  ends_.emplace_back(nodes, nodes + count);
}

}  // namespace figment::cuda
