#include "device_job.h"

namespace figment {

DeviceJob::~DeviceJob() {
  if (event_) device_.api.release_event(event_);
}

void DeviceJob::execute() noexcept {
  const FigmentBackend& api = device_.api;
  if (event_) {
    if (api.wait_event(device_.handle, event_) != FIGMENT_OK && !failure_) fail();
  } else {
    begin();
    if (api.record_event && api.record_event(device_.handle, &event_) == FIGMENT_OK) return;
    if (api.record_event && !failure_) fail();
  }
  end();
  ended_ = true;
}

void DeviceJob::finish() noexcept { ended_ ? done() : void(device_.waits.submit(this)); }

void DeviceJob::fail() {
  const FigmentError* error = device_.api.last_error();
  failure_ = new Failure(error->code, error->message);
}

PinnedMemory::PinnedMemory(Device& device, uint64_t bytes) : device_(device) {
  if (device.api.allocate_pinned &&
      device.api.allocate_pinned(device.handle, bytes, &data_) != FIGMENT_OK)
    data_ = nullptr;
}

PinnedMemory::~PinnedMemory() {
  if (data_) device_.api.release_pinned(device_.handle, data_);
}

}  // namespace figment
