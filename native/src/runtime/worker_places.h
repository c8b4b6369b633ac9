// Where the threads of a pool run, when it has as many as the process has processors: each on its
// own. Left to the system, a worker that is woken while all processors are busy for a moment (one
// with the thread that wakes it, another with JavaScript) waits behind the former for milliseconds,
// longer than most regions last.
#pragma once

#include <thread>
#include <vector>

namespace figment {

class WorkerPlaces {
 public:
  /// Gives each worker a processor, but not that of the calling thread, which stays free to move.
  /// Does nothing unless there are as many processors as threads.
  void give(std::vector<std::thread>& workers);
  void clear();
  /// When the calling thread has moved, the worker that was given its processor changes to the one
  /// that it has left.
  void follow();

 private:
  struct Place {
    std::thread::native_handle_type worker;
    int processor;
  };
  std::vector<Place> places_;
  int caller_ = 0;  ///< processor that no worker has
};

}  // namespace figment
