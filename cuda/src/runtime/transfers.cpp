// Transfers. Large ones between pinned and device memory run on streams of their own, so that they
// overlap kernels: on the device they end and begin in staging memory, and what copies between that
// and a tensor's memory has its turn on the one stream, as everything that touches tensors has.
#include "check.h"
#include "gpu_device.h"

namespace figment::cuda {
namespace {

/// Smaller transfers take less than what a second copy and two events cost.
constexpr uint64_t kOverlapBytes = uint64_t(64) << 10;

void copy(void* to, const void* from, uint64_t bytes, cudaMemcpyKind kind, cudaStream_t stream,
          const char* doing) {
  check(cudaMemcpyAsync(to, from, size_t(bytes), kind, stream), doing);
}

}  // namespace

/// Has what is queued on `later` from now on wait for what is on `earlier` now.
void GpuDevice::order(cudaStream_t earlier, cudaStream_t later) {
  check(cudaEventRecord(link_, earlier), "recording an event");
  check(cudaStreamWaitEvent(later, link_, 0), "ordering streams");
}

void GpuDevice::upload(void* to, const void* from, uint64_t bytes) {
  if (bytes == 0) return;
  const bool pinned = pinned_.holds(from);
  void* const via = pinned && bytes >= kOverlapBytes ? transit_.allocate(bytes) : nullptr;
  cudaStream_t stream = via ? uploads_ : stream_;
  copy(via ? via : to, from, bytes, cudaMemcpyHostToDevice, stream, "uploading");
  if (pinned) pinned_.keepUntil(const_cast<void*>(from), stream);
  if (!via) return;
  order(uploads_, stream_);
  copy(to, via, bytes, cudaMemcpyDeviceToDevice, stream_, "uploading");
  transit_.keepUntil(via, stream_);
  transit_.release(via);
}

void GpuDevice::download(const void* from, void* to, uint64_t bytes) {
  const bool pinned = bytes > 0 && pinned_.holds(to);
  void* const via = pinned && bytes >= kOverlapBytes ? transit_.allocate(bytes) : nullptr;
  cudaStream_t stream = via ? downloads_ : stream_;
  if (via) {
    copy(via, from, bytes, cudaMemcpyDeviceToDevice, stream_, "downloading");
    order(stream_, downloads_);
  }
  if (bytes > 0) copy(to, via ? via : from, bytes, cudaMemcpyDeviceToHost, stream, "downloading");
  if (via) {
    transit_.keepUntil(via, downloads_);
    transit_.release(via);
  }
  if (pinned)
    pinned_.keepUntil(to, stream);
  else
    check(cudaStreamSynchronize(stream_), "waiting for the GPU");
}

void* GpuDevice::allocatePinned(uint64_t bytes) {
  select();
  return pinned_.allocate(bytes);
}

void GpuDevice::synchronise() {
  for (cudaStream_t stream : {stream_, downloads_})
    check(cudaStreamSynchronize(stream), "waiting for the GPU");
}

DeviceEvent::DeviceEvent() {
  for (cudaEvent_t& event : on)
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "creating an event");
}

DeviceEvent::~DeviceEvent() {
  for (cudaEvent_t event : on)
    if (event) cudaEventDestroy(event);
}

std::unique_ptr<DeviceEvent> GpuDevice::recordEvent() {
  auto event = std::make_unique<DeviceEvent>();
  check(cudaEventRecord(event->on[0], downloads_), "recording an event");
  check(cudaEventRecord(event->on[1], stream_), "recording an event");
  return event;
}

void GpuDevice::wait(const DeviceEvent& event) const {
  for (cudaEvent_t on : event.on) check(cudaEventSynchronize(on), "waiting for the GPU");
}

}  // namespace figment::cuda
