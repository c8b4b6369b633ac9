// The launches of a recording while a stream is captured: what each must wait for, and scratch that
// those that may run at once do not share.
#pragma once

#include <cuda_runtime.h>

#include <vector>

#include "data_order.h"
#include "launcher.h"
#include "runtime/program.h"

namespace figment::cuda {

/// Launches that have a word of their own to count arrivals in; later ones share them again.
constexpr uint32_t kMostLaunches = 16384;

class RecordedLaunches {
 public:
  RecordedLaunches(cudaStream_t stream, Launcher& launcher, std::byte* scratch,
                   uint64_t scratchBytes, uint32_t* arrivals)
      : stream_(stream),
        launcher_(launcher),
        scratch_(scratch),
        scratchBytes_(scratchBytes),
        arrivals_(arrivals) {}

  /// What `launch` queues for a record whose operands have their addresses.
  template <class Launch>
  void add(const ProgramRecord& record, Launch&& launch) {
    std::vector<Range> reads, writes;
    for (int i = 0; i < record.call.inCount; i++) reads.push_back(rangeOf(record.call.in[i]));
    for (int i = 0; i < record.call.outCount; i++) writes.push_back(rangeOf(record.call.out[i]));
    writes.push_back(takeScratch(record));
    add(std::move(reads), std::move(writes), launch);
  }
  template <class Launch>
  void add(std::vector<Range> reads, std::vector<Range> writes, Launch&& launch) {
    launcher_.setArrivals(arrivals_ + ends_.size() % kMostLaunches);
    follow(order_.add(std::move(reads), std::move(writes)));
    launch();
    note();
  }
  /// Has what ends the capture wait for all.
  void join() { follow(order_.last()); }

 private:
  Range takeScratch(const ProgramRecord& record);
  void follow(const std::vector<uint32_t>& launches);
  void note();

  const cudaStream_t stream_;
  Launcher& launcher_;
  std::byte* const scratch_;
  const uint64_t scratchBytes_;
  uint64_t scratchAt_ = 0;  ///< where the next record's begins, if there is room
  uint32_t* const arrivals_;
  DataOrder order_;
  std::vector<std::vector<cudaGraphNode_t>> ends_;  ///< of each launch
};

}  // namespace figment::cuda
