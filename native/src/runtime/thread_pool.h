// The worker pool: persistent threads that share the chunks of one parallel region at a time. The
// thread that opens a region is worker 0; only one thread may do so at any moment (the device's
// execution lock sees to that).
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "../kernels/kernel.h"
#include "worker_places.h"

namespace figment {

class ThreadPool {
 public:
  static constexpr int kMaxThreads = 256;

  /// Threads that take part in a region, the calling one included. Started at the first region.
  explicit ThreadPool(int threads) : threads_(threads) {}

  int threads() const { return threads_; }
  /// Only between regions.
  void resize(int threads);

  /// Calls body on [k·grain, min((k+1)·grain, count)) for every k, on any worker, and returns when
  /// all are done. An exception thrown by a body stops the region and is rethrown here.
  void parallel(int64_t count, int64_t grain, Context::Body body, void* closure);

 private:
  void start();
  void stop();
  void workerMain(int worker, uint32_t done);
  void work(int worker) noexcept;

  // state_: bit 0 the region is open; bits 1-11 workers inside it; bits 12-31 its number. A worker
  // enters by adding 1 to the count while the region is open, so that one which wakes too late is
  // never waited for.
  static constexpr uint32_t kOpen = 1;
  static constexpr uint32_t kInside = 2;
  static constexpr uint32_t kInsideMask = 0xffe;
  static constexpr uint32_t kRegion = 0x1000;
  static uint32_t region(uint32_t state) { return state / kRegion; }

  int threads_;
  std::vector<std::thread> workers_;
  WorkerPlaces places_;
  bool stopping_ = false;  // written before a region number that workers observe

  alignas(64) std::atomic<uint32_t> state_{0};
  alignas(64) std::atomic<uint32_t> left_{0};  // changes whenever the last worker inside leaves
  /// Chunks that one thread does first, so that it meets what it has in its caches from the region
  /// before; others help when they have done their own.
  struct alignas(64) Share {
    std::atomic<int64_t> next;  ///< first chunk that nobody has taken
    int64_t end;
  };
  std::unique_ptr<Share[]> shares_;
  int sharing_ = 0;  ///< shares of the region
  int64_t count_ = 0;
  int64_t grain_ = 1;
  Context::Body body_ = nullptr;
  void* closure_ = nullptr;
  std::mutex failureMutex_;
  std::exception_ptr failure_;
};

}  // namespace figment
