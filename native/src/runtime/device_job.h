// Jobs that wait for what they have set going on a device, and the memory that such work moves
// bytes through. Devices without events (the CPU) have done everything when their functions return.
#pragma once

#include "device.h"

namespace figment {

/// begin() is called in the device's queue; end() when the device has done what was queued by then,
/// which is waited for in Device::waits, so that the queue goes on.
class DeviceJob : public Job {
 public:
  DeviceJob(Ref<Client> client, Device& device) : Job(std::move(client)), device_(device) {}
  ~DeviceJob() override;

  void execute() noexcept final;
  void finish() noexcept final;

 protected:
  virtual void begin() noexcept {}
  virtual void end() noexcept {}
  /// After end(); disposes of the job, or hands it on.
  virtual void done() noexcept { delete this; }
  /// Takes the backend's last error as what went wrong.
  void fail();

  Device& device_;
  Ref<Failure> failure_;

 private:
  FigmentEvent* event_ = nullptr;
  bool ended_ = false;
};

/// Host memory from and to which a device moves bytes by itself; none where it has none left.
class PinnedMemory {
 public:
  PinnedMemory(Device& device, uint64_t bytes);
  ~PinnedMemory();
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  /// Null for none.
  void* data() const { return data_; }

 private:
  Device& device_;
  void* data_ = nullptr;
};

}  // namespace figment
