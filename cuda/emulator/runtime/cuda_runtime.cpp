#include "cuda_runtime.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "../stream.h"
#include "../tensor_map.h"

/// A piece of a graph's work, and the pieces that must be over before.
struct EmulatedNode {
  std::function<void()> work;
  size_t number;
  std::vector<EmulatedNode*> after;
};

struct EmulatedGraph {
  std::deque<EmulatedNode> nodes;
};

/// What a stream notes while it is captured.
struct Capture {
  std::unique_ptr<EmulatedGraph> graph = std::make_unique<EmulatedGraph>();
  std::vector<EmulatedNode*> last;  ///< what the next piece comes after
};

struct EmulatedStream {
  std::unique_ptr<Capture> capture;
  std::deque<std::function<void()>> pending;
  uint64_t queued = 0, done = 0;  ///< counts of what has been pending
};
struct EmulatedEvent {
  bool timing;
  std::chrono::steady_clock::time_point time;
  EmulatedStream* stream = nullptr;  ///< that it was last recorded on
  uint64_t place = 0;                ///< done when so much of the stream is
};

namespace {

/// Guards what is pending, and the list of streams and of pinned memory.
std::recursive_mutex streams;
std::vector<EmulatedStream*> allStreams;
std::map<const std::byte*, size_t> pinned;

/// Does what is pending on a stream up to a place, and what that waits for.
void advance(EmulatedStream& stream, uint64_t place) {
  std::lock_guard lock(streams);
  while (stream.done < place) {
    const std::function<void()> work = std::move(stream.pending.front());
    stream.pending.pop_front();
    work();
    stream.done++;
  }
}

void advance(EmulatedStream& stream) {
  std::lock_guard lock(streams);
  advance(stream, stream.queued);
}

void defer(EmulatedStream& stream, std::function<void()> work) {
  std::lock_guard lock(streams);
  stream.pending.push_back(std::move(work));
  stream.queued++;
}

void finishAll() {
  std::lock_guard lock(streams);
  for (EmulatedStream* stream : allStreams) advance(*stream);
}

/// FIGMENT_EMULATED_GPU=hopper: a GPU of compute capability 9.0, which runs the kernels of
/// *.sm90a.cu too, in place of one of 8.0.
bool isHopper() {
  const char* const wish = std::getenv("FIGMENT_EMULATED_GPU");
  return wish != nullptr && std::string_view(wish) == "hopper";
}

bool isPinned(const void* memory) {
  std::lock_guard lock(streams);
  const auto* const at = static_cast<const std::byte*>(memory);
  const auto next = pinned.upper_bound(at);
  return next != pinned.begin() && at < std::prev(next)->first + std::prev(next)->second;
}

}  // namespace

namespace figment::cuda::emulator {

void queue(void* stream, std::function<void()> work) {
  auto& on = *static_cast<EmulatedStream*>(stream);
  if (Capture* const capture = on.capture.get()) {
    auto& nodes = capture->graph->nodes;
    nodes.push_back({std::move(work), nodes.size(), capture->last});
    capture->last = {&nodes.back()};
    return;
  }
  advance(on);
  work();
}

}  // namespace figment::cuda::emulator

using figment::cuda::emulator::queue;

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorNotReady:
      return "not ready";
    default:
      return "invalid argument";
  }
}
const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    default:
      return "cudaErrorInvalidValue";
  }
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned,
                                             unsigned long long,
                                             cudaDriverEntryPointQueryResult* status) {
  *function = figment::cuda::emulator::driverFunction(name);
  *status = *function ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  const bool hopper = isHopper();
  // Few multiprocessors, so that loops over the grid take more than one turn.
  *properties = {"emulated GPU", hopper ? 9 : 8, 0, 2, size_t(8) << 30, 227 * 1024, 4 << 20};
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = *total = size_t(8) << 30;
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** memory, size_t bytes) {
  return posix_memalign(memory, 256, bytes) == 0 ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void* memory) {
  finishAll();
  std::free(memory);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  const cudaError_t status = cudaMalloc(memory, bytes);
  std::lock_guard lock(streams);
  if (status == cudaSuccess) pinned.emplace(static_cast<const std::byte*>(*memory), bytes);
  return status;
}
cudaError_t cudaFreeHost(void* memory) {
  std::lock_guard lock(streams);
  pinned.erase(static_cast<const std::byte*>(memory));
  return cudaFree(memory);
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new EmulatedStream;
  std::lock_guard lock(streams);
  allStreams.push_back(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (stream->capture) return cudaErrorInvalidValue;
  advance(*stream);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  // A graph would read the host's memory whenever it is replayed.
  if (stream->capture && kind != cudaMemcpyDeviceToDevice) return cudaErrorInvalidValue;
  const bool pageable = (kind == cudaMemcpyHostToDevice && !isPinned(from)) ||
                        (kind == cudaMemcpyDeviceToHost && !isPinned(to));
  const auto work = [=] { std::memmove(to, from, bytes); };
  if (pageable || stream->capture) {
    queue(stream, work);
    return cudaSuccess;
  }
  static std::atomic<uint64_t> uploads{0};
  const bool early = kind == cudaMemcpyHostToDevice && ++uploads % 2 == 0;
  std::lock_guard lock(streams);
  defer(*stream, work);
  if (early) advance(*stream);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* to, int byte, size_t bytes, cudaStream_t stream) {
  queue(stream, [=] { std::memset(to, byte, bytes); });
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new EmulatedEvent{.timing = (flags & cudaEventDisableTiming) == 0, .time = {}};
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (stream->capture) return cudaErrorInvalidValue;  // it would have no time
  std::lock_guard lock(streams);
  event->stream = stream;
  event->place = stream->queued;
  if (!event->timing) return cudaSuccess;
  advance(*stream);
  event->time = std::chrono::steady_clock::now();
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  std::lock_guard lock(streams);
  if (event->stream) advance(*event->stream, event->place);
  return cudaSuccess;
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  std::lock_guard lock(streams);
  return event->stream && event->stream->done < event->place ? cudaErrorNotReady : cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (stream->capture) return cudaErrorInvalidValue;
  std::lock_guard lock(streams);
  EmulatedStream* const other = event->stream;
  const uint64_t place = event->place;
  if (other) defer(*stream, [other, place] { advance(*other, place); });
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - begin->time).count();
  return cudaSuccess;
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  if (stream->capture) return cudaErrorInvalidValue;
  stream->capture = std::make_unique<Capture>();
  return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status,
                                     unsigned long long*, cudaGraph_t*,
                                     const cudaGraphNode_t** nodes, const cudaGraphEdgeData**,
                                     size_t* count) {
  if (!stream->capture) return cudaErrorInvalidValue;
  *status = cudaStreamCaptureStatusActive;
  *nodes = stream->capture->last.data();
  *count = stream->capture->last.size();
  return cudaSuccess;
}
cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t stream, cudaGraphNode_t* nodes,
                                                const cudaGraphEdgeData*, size_t count, unsigned) {
  if (!stream->capture) return cudaErrorInvalidValue;
  stream->capture->last.assign(nodes, nodes + count);
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (!stream->capture) return cudaErrorInvalidValue;
  *graph = stream->capture->graph.release();
  stream->capture.reset();
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new EmulatedGraph(*graph);
  for (EmulatedNode& node : (*exec)->nodes)
    for (EmulatedNode*& earlier : node.after) earlier = &(*exec)->nodes[earlier->number];
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  advance(*stream);
  // In one of the orders that are allowed, another each time: oldest first, newest first, any.
  static std::atomic<uint32_t> launches{0};
  uint32_t random = ++launches;
  const uint32_t order = random % 3;
  std::vector<size_t> missing(exec->nodes.size());
  std::vector<std::vector<size_t>> next(exec->nodes.size());
  std::vector<size_t> ready;
  for (const EmulatedNode& node : exec->nodes) {
    missing[node.number] = node.after.size();
    for (const EmulatedNode* earlier : node.after) next[earlier->number].push_back(node.number);
    if (node.after.empty()) ready.push_back(node.number);
  }
  while (!ready.empty()) {
    random = random * 1664525u + 1013904223u;
    const size_t at =
        order == 0   ? size_t(std::min_element(ready.begin(), ready.end()) - ready.begin())
        : order == 1 ? size_t(std::max_element(ready.begin(), ready.end()) - ready.begin())
                     : (random >> 8) % ready.size();
    const size_t number = ready[at];
    ready.erase(ready.begin() + ptrdiff_t(at));
    exec->nodes[number].work();
    for (const size_t later : next[number])
      if (--missing[later] == 0) ready.push_back(later);
  }
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
