// Linux only: elsewhere threads cannot be bound, and the lists stay empty.
#include "worker_places.h"

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

namespace figment {

void WorkerPlaces::clear() { places_.clear(); }

#if defined(__linux__)

namespace {

// Refused where a cpuset has lost the processor since: then the worker stays where it was.
void bind(std::thread::native_handle_type thread, int processor) {
  cpu_set_t only;
  CPU_ZERO(&only);
  CPU_SET(processor, &only);
  pthread_setaffinity_np(thread, sizeof(only), &only);
}

}  // namespace

void WorkerPlaces::give(std::vector<std::thread>& workers) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
  if (size_t(CPU_COUNT(&allowed)) != workers.size() + 1) return;
  caller_ = sched_getcpu();
  if (caller_ < 0) return;
  CPU_CLR(caller_, &allowed);
  int processor = 0;
  for (std::thread& worker : workers) {
    while (!CPU_ISSET(processor, &allowed)) processor++;
    places_.push_back({worker.native_handle(), processor});
    bind(worker.native_handle(), processor++);
  }
}

void WorkerPlaces::follow() {
  if (places_.empty()) return;
  const int now = sched_getcpu();
  if (now == caller_ || now < 0) return;
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
  if (size_t(CPU_COUNT(&allowed)) != places_.size() + 1 || !CPU_ISSET(caller_, &allowed)) {
    // Somebody has given the process other processors: workers go where the caller may.
    for (const Place& place : places_)
      pthread_setaffinity_np(place.worker, sizeof(allowed), &allowed);
    return clear();
  }
  for (Place& place : places_) {
    if (place.processor != now) continue;
    place.processor = caller_;
    bind(place.worker, caller_);
  }
  caller_ = now;
}

#else

void WorkerPlaces::give(std::vector<std::thread>&) {}
void WorkerPlaces::follow() {}

#endif

}  // namespace figment
