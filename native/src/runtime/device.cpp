// Devices exist from their first use to the end of the process; static destructors never touch
// them.
#include "device.h"

#include <algorithm>
#include <atomic>
#include <mutex>

#include "backend_loader.h"
#include "cpu_backend.h"
#include "error.h"
#include "shortage.h"

namespace figment {

Device::Device(const FigmentBackend& api, int index, int backendIndex) : api(api), index(index) {
  if (api.open_device(backendIndex, &handle) != FIGMENT_OK) throwLastError();
}

FigmentDeviceInfo Device::info() const {
  FigmentDeviceInfo info = {};
  info.size = sizeof(info);
  if (api.device_info(handle, &info) != FIGMENT_OK) throwLastError();
  return info;
}

FigmentMemoryInfo Device::memory() const {
  FigmentMemoryInfo info = {};
  info.size = sizeof(info);
  if (api.memory_info(handle, &info) != FIGMENT_OK) throwLastError();
  return info;
}

void* Device::allocate(uint64_t bytes) {
  void* memory = nullptr;
  FigmentStatus status = api.allocate(handle, bytes, &memory);
  if (status == FIGMENT_OUT_OF_MEMORY) {
    trim();
    status = api.allocate(handle, bytes, &memory);
  }
  if (status == FIGMENT_OK) return memory;
  if (status != FIGMENT_OUT_OF_MEMORY) throwLastError();
  throwOutOfMemory(std::to_string(bytes) + " bytes are asked for",
                   CachingAllocator::blockBytes(bytes));
}

void Device::claim(const LoadedProgram& program) {
  if (!api.claim_program || api.claim_program(handle, program.handle) == FIGMENT_OK) return;
  trim();
  if (api.claim_program(handle, program.handle) == FIGMENT_OK) return;
  throwNoRoom(program);
}

void Device::throwNoRoom(const LoadedProgram& program) {
  trim();
  RunRoom room;
  room.temporaries = program.info.arena_bytes;
  if (api.scratch_bytes) room.scratch = api.scratch_bytes(program.handle);
  for (uint32_t i = 0; i < program.info.output_count; i++)
    room.results += CachingAllocator::blockBytes(program.info.output_bytes[i]);
  throwOutOfMemory(room.text(), room.blocks());
}

void Device::throwOutOfMemory(const std::string& request, uint64_t blocks) const {
  const FigmentMemoryInfo now = memory();
  throw Error(code::kOutOfMemory, describeShortage(request, blocks, now.in_use, now.limit));
}

void Device::settle() noexcept {
  queue.drain();
  std::lock_guard lock(queue.executionLock());
  api.synchronise(handle);
}

void Device::trim() {
  queue.drain();
  std::lock_guard lock(queue.executionLock());
  if (api.withdraw_claims) api.withdraw_claims(handle);
  api.trim(handle);
}

void Device::setMemoryLimit(uint64_t bytes) {
  if (api.set_memory_limit(handle, bytes) != FIGMENT_OK) throwLastError();
}

void Device::throwLastError() const {
  const FigmentError* error = api.last_error();
  throw Error(error->code, error->message);
}

uint64_t Buffer::lastUse() const {
  uint64_t ticket = lastTicket;
  for (const Binding* binding : boundTo) ticket = std::max(ticket, binding->lastTicket);
  return ticket;
}

void Buffer::renewMemory() {
  // Smaller ones stay in a core's own cache for a while anyway.
  constexpr uint64_t kLeast = uint64_t(64) << 10;
  if (bytes >= kLeast && device.api.exchange)
    memory = device.api.exchange(device.handle, memory, bytes);
}

LoadedProgram::LoadedProgram(Device& device, const void* blob, uint64_t bytes, const char* variant)
    : device(device) {
  FigmentStatus status = device.api.load_program(device.handle, blob, bytes, variant, &handle);
  if (status == FIGMENT_OUT_OF_MEMORY) {
    device.trim();
    status = device.api.load_program(device.handle, blob, bytes, variant, &handle);
  }
  if (status != FIGMENT_OK) device.throwLastError();
  info.size = sizeof(info);
  if (device.api.program_info(handle, &info) != FIGMENT_OK) {
    device.api.release_program(handle);
    device.throwLastError();
  }
}

Binding::Binding(Ref<LoadedProgram> boundProgram, std::vector<Ref<Buffer>> buffers)
    : program(std::move(boundProgram)), states(std::move(buffers)) {
  const FigmentProgramInfo& info = program->info;
  std::vector<std::pair<const Buffer*, bool>> seen;
  for (size_t s = 0; s < states.size(); s++) {
    const Buffer& buffer = *states[s];
    const std::string where = "state " + std::to_string(s) + ": ";
    if (&buffer.device != &program->device)
      throw Error(code::kArgument, where + "its buffer is on another device");
    if (buffer.bytes < info.state_bytes[s])
      throw Error(code::kArgument, where + "its buffer has " + std::to_string(buffer.bytes) +
                                       " bytes, the program needs " +
                                       std::to_string(info.state_bytes[s]));
    seen.emplace_back(&buffer, info.state_written[s] != 0);
  }
  std::sort(seen.begin(), seen.end());
  for (size_t s = 1; s < seen.size(); s++) {
    if (seen[s].first == seen[s - 1].first && seen[s].second)
      throw Error(code::kArgument, "a buffer is bound to two states, and the program writes it");
  }
  for (size_t s = 0; s < states.size(); s++) {
    states[s]->writers += info.state_written[s];
    states[s]->boundTo.push_back(this);
  }
}

void Binding::retire() {
  for (size_t s = 0; s < states.size(); s++) {
    Buffer& buffer = *states[s];
    buffer.writers -= program->info.state_written[s];
    buffer.lastTicket = std::max(buffer.lastTicket, lastTicket);
    std::erase(buffer.boundTo, this);
  }
}

Failure* Binding::failure() {
  const uint64_t now = program->device.failures;
  if (soundAt_ == now) return nullptr;
  for (const Ref<Buffer>& state : states) {
    if (state->failure) return state->failure.get();
  }
  soundAt_ = now;
  return nullptr;
}

void* const* Binding::pointers() {
  if (pointers_.empty()) {
    for (const Ref<Buffer>& state : states) pointers_.push_back(state->memory);
  }
  return pointers_.data();
}

bool Binding::writes(const Buffer& buffer) const {
  for (size_t s = 0; s < states.size(); s++) {
    if (states[s].get() == &buffer && program->info.state_written[s]) return true;
  }
  return false;
}

namespace {

/// What devices() has found; null before its first call.
std::atomic<const DeviceList*> found{nullptr};

/// Guards how many profile, and that every device in the list knows.
std::mutex profiling;
int profilers = 0;

const DeviceList* findDevices() {
  auto* list = new DeviceList;
  list->devices.push_back(&cpu());
  const OpenedBackend cuda = openCudaBackend();
  if (!cuda.api) {
    list->unavailable.push_back({"cuda", cuda.reason});
    return list;
  }
  for (int32_t i = 0; i < cuda.api->device_count(); i++) {
    try {
      list->devices.push_back(new Device(*cuda.api, int(list->devices.size()), i));
    } catch (const Error& error) {
      list->unavailable.push_back({"cuda", error.message()});
    }
  }
  return list;
}

const DeviceList* probe() {
  const DeviceList* list = findDevices();
  std::lock_guard lock(profiling);
  for (size_t d = 1; d < list->devices.size(); d++)
    for (int i = 0; i < profilers; i++)
      list->devices[d]->api.set_profiling(list->devices[d]->handle, 1);
  found.store(list, std::memory_order_release);
  return list;
}

}  // namespace

Device& cpu() {
  static Device* const device = new Device(cpuBackend(), 0, 0);
  return *device;
}

const DeviceList& devices() {
  static const DeviceList* const list = probe();
  return *list;
}

std::vector<Device*> openDevices() {
  const DeviceList* list = found.load(std::memory_order_acquire);
  return list ? list->devices : std::vector<Device*>{&cpu()};
}

void setProfiling(bool on) {
  std::lock_guard lock(profiling);
  profilers += on ? 1 : -1;
  for (const Device* device : openDevices()) device->api.set_profiling(device->handle, on);
}

}  // namespace figment
