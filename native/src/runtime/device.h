// Devices as the addon uses them: a backend's device with its queue, and the objects that live on
// it (buffers, loaded programs, bindings of state). Knows no kernel and no JavaScript.
#pragma once

#include <string>
#include <vector>

#include "client.h"
#include "figment/backend.h"
#include "queue.h"
#include "ref.h"

namespace figment {

struct LoadedProgram;

class Device {
 public:
  Device(const FigmentBackend& api, int index, int backendIndex);

  const FigmentBackend& api;
  FigmentDevice* handle = nullptr;
  const int index;  ///< as JavaScript numbers devices; 0 is the CPU
  Queue queue;
  Queue waits;  ///< of jobs that wait for what is under way on the device

  FigmentDeviceInfo info() const;
  FigmentMemoryInfo memory() const;
  /// On exhaustion: waits for the queue, drops caches, tries once more, then throws Error.
  void* allocate(uint64_t bytes);
  /// Makes sure that a program that is about to be queued will find room for its temporaries; in
  /// the same way.
  void claim(const LoadedProgram& program);
  /// Waits for the queue, and for what its jobs have set going on the device. What a device reports
  /// only now (a fault) has no run to blame; later calls report it again.
  void settle() noexcept;
  /// Waits for the queue, then gives cached memory back to the system.
  void trim();
  void setMemoryLimit(uint64_t bytes);

  /// For a run that found no room, and holds none: gives back what can be given back, then throws
  /// Error(ERR_FIGMENT_OUT_OF_MEMORY), saying what it takes, the least limit included.
  [[noreturn]] void throwNoRoom(const LoadedProgram& program);
  /// Throws the backend's last error.
  [[noreturn]] void throwLastError() const;

  /// Addresses for one run; used under the execution lock.
  std::vector<void*> inputPointers;
  std::vector<void*> outputPointers;
  std::vector<uint8_t> hostInputs;
  /// How often runs have left buffers without contents; under the execution lock.
  uint64_t failures = 0;

 private:
  /// `blocks` is what the request takes of the device's memory.
  [[noreturn]] void throwOutOfMemory(const std::string& request, uint64_t blocks) const;
};

struct Binding;

/// Memory on a device. `failure` belongs to whoever the queue's order says: the executing thread
/// until lastUse() is reached, then JavaScript; the other members to the JavaScript thread.
struct Buffer : RefCounted {
  Buffer(Device& device, uint64_t bytes)
      : device(device), memory(device.allocate(bytes)), bytes(bytes) {}
  ~Buffer() override { device.api.release(device.handle, memory, bytes); }

  /// The latest queued job that uses it, as input, output or state.
  uint64_t lastUse() const;
  /// By the job that first writes it, before it does. The memory was chosen when the job was
  /// queued; calls that have ended since have left some that is in the caches.
  void renewMemory();

  Device& device;
  void* memory;  ///< settled once the job that first writes it has begun
  const uint64_t bytes;
  uint64_t lastTicket = 0;              ///< the latest queued job that has it as input or output
  uint32_t writers = 0;                 ///< bindings that write it
  std::vector<const Binding*> boundTo;  ///< those not yet retired
  Ref<Failure> failure;                 ///< why its contents do not exist
};

struct LoadedProgram : RefCounted {
  LoadedProgram(Device& device, const void* blob, uint64_t bytes, const char* variant);
  ~LoadedProgram() override { device.api.release_program(handle); }

  Device& device;
  FigmentProgram* handle = nullptr;
  FigmentProgramInfo info = {};
};

/// A program's state: one buffer per state ordinal, checked once instead of at every run. A run
/// marks its binding as used, not the buffers, of which there may be hundreds.
struct Binding : RefCounted {
  /// Throws Error when a buffer is too small, on another device, or written and bound twice.
  Binding(Ref<LoadedProgram> program, std::vector<Ref<Buffer>> buffers);
  ~Binding() override = default;

  /// Called by JavaScript when its handle goes: the buffers remember the use and forget the
  /// binding.
  void retire();
  bool writes(const Buffer& buffer) const;
  /// Why some state does not exist; null when all do. Under the execution lock.
  Failure* failure();
  /// Where the states lie. Under the execution lock.
  void* const* pointers();

  Ref<LoadedProgram> program;
  std::vector<Ref<Buffer>> states;
  uint64_t lastTicket = 0;  ///< the latest queued job that uses it; the JavaScript thread's

 private:
  static constexpr uint64_t kNeverLooked = ~uint64_t(0);
  std::vector<void*> pointers_;  ///< empty until the first run: then memory is settled
  /// Device::failures when all states were last seen to exist.
  uint64_t soundAt_ = kNeverLooked;
};

/// The CPU, without any probing.
Device& cpu();

struct UnavailableDevice {
  std::string kind;
  std::string reason;
};

struct DeviceList {
  std::vector<Device*> devices;
  std::vector<UnavailableDevice> unavailable;
};

/// All devices, CPU first. The first call looks for plug-ins; nothing changes afterwards.
const DeviceList& devices();

/// The devices that something may have used so far: looks for no plug-in.
std::vector<Device*> openDevices();

/// Has all devices, those that are found later too, note what runs on them, until as many calls
/// have turned it off as on.
void setProfiling(bool on);

}  // namespace figment
