// Buffers and their contents: allocate, release, byteLength, write, read, readSync; and waiting for
// the queues: settled, settleSync.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>
#include <vector>

#include "../runtime/allocator.h"
#include "../runtime/device_job.h"
#include "arguments.h"
#include "calls.h"

namespace figment {
namespace {

/// A finished read up to this size is answered at once: copying it takes less than a trip through
/// the queue, and no more than a millisecond of the event loop.
constexpr uint64_t kImmediateRead = uint64_t(1) << 20;

/// Where in a buffer a call reads or writes.
struct Span {
  Buffer& buffer;
  uint64_t offset;
  uint64_t bytes;
};

Span spanOf(Buffer& buffer, uint64_t offset, uint64_t bytes) {
  if (offset > buffer.bytes || bytes > buffer.bytes - offset)
    throw Error(code::kArgument, "bytes " + std::to_string(offset) + " to " +
                                     std::to_string(offset + bytes) + " of a buffer of " +
                                     std::to_string(buffer.bytes));
  return {buffer, offset, bytes};
}

Span readArguments(Environment& environment, const Napi::CallbackInfo& info) {
  Buffer& buffer = environment.buffers.get(numberArgument(info, 0, "buffer"));
  const uint64_t offset = wholeArgument(info, 1, "byteOffset");
  return spanOf(buffer, offset, wholeArgument(info, 2, "byteLength"));
}

/// Memory for an answer. Throws Error when JavaScript refuses to make it.
Napi::ArrayBuffer makeArrayBuffer(Napi::Env env, uint64_t bytes) {
  napi_value value;
  void* data;
  if (napi_create_arraybuffer(env, size_t(bytes), &data, &value) != napi_ok) {
    napi_value ignored;
    napi_get_and_clear_last_exception(env, &ignored);
    throw Error(code::kOutOfMemory,
                "JavaScript cannot make an ArrayBuffer of " + std::to_string(bytes) + " bytes");
  }
  preferHugePages(data, bytes);
  return Napi::ArrayBuffer(env, value);
}

void throwFailure(Failure& failure) {
  failure.reported = true;
  throw Error(failure.code, failure.message);
}

/// Errors that no read has reported surface at the next call that waits.
void throwUnreported(Environment& environment) {
  if (const Ref<Failure> failure = environment.client->takeUnreported()) throwFailure(*failure);
}

/// The CPU's memory is the caller's own; on a GPU even what the queue has done is under way, and
/// its stream is shared with the run that is being queued.
bool isHere(const Device& device) { return device.index == 0; }

void download(const Span& span, void* to) {
  Device& device = span.buffer.device;
  std::unique_lock<std::mutex> exclusive;
  if (!isHere(device)) exclusive = std::unique_lock(device.queue.executionLock());
  if (device.api.download(device.handle, span.buffer.memory, span.offset, to, span.bytes) !=
      FIGMENT_OK)
    device.throwLastError();
}

Napi::Value allocate(Environment& environment, const Napi::CallbackInfo& info) {
  Device& device = deviceArgument(info, 0);
  return Napi::Number::New(info.Env(),
                           environment.addBuffer(device, wholeArgument(info, 1, "bytes")));
}

Napi::Value release(Environment& environment, const Napi::CallbackInfo& info) {
  environment.removeBuffer(numberArgument(info, 0, "buffer"));
  return info.Env().Undefined();
}

Napi::Value byteLength(Environment& environment, const Napi::CallbackInfo& info) {
  return Napi::Number::New(
      info.Env(), double(environment.buffers.get(numberArgument(info, 0, "buffer")).bytes));
}

/// Large writes have their turn in pieces: while one is on its way the next is copied, into pinned
/// memory that serves again and again.
constexpr uint64_t kWritePiece = uint64_t(16) << 20;

/// A piece of a write in its turn. It brings a copy of the bytes: what is written next to where
/// they come from is the caller's business.
class WriteJob final : public Job {
 public:
  /// `renews`: nothing is left of what the buffer held, nor of the failure that should have made
  /// it.
  WriteJob(Ref<Client> client, const Span& span, const std::byte* data, bool renews)
      : Job(std::move(client), span.bytes),
        buffer_(&span.buffer),
        offset_(span.offset),
        bytes_(span.bytes),
        renews_(renews),
        pinned_(span.buffer.device, span.bytes) {
    if (!pinned_.data())
      plain_.assign(data, data + bytes_);
    else if (bytes_ > 0)
      std::memcpy(pinned_.data(), data, bytes_);
  }

  void execute() noexcept override {
    Device& device = buffer_->device;
    const void* const data = pinned_.data() ? pinned_.data() : plain_.data();
    if (renews_) buffer_->failure = {};
    if (device.api.upload(device.handle, buffer_->memory, offset_, data, bytes_) == FIGMENT_OK)
      return;
    const FigmentError* error = device.api.last_error();
    buffer_->failure = new Failure(error->code, error->message);
    device.failures++;
    client().remember(buffer_->failure);
  }

 private:
  Ref<Buffer> buffer_;
  uint64_t offset_;
  uint64_t bytes_;
  bool renews_;
  PinnedMemory pinned_;
  std::vector<std::byte> plain_;  // where there is none
};

/// Takes a buffer's contents away: of a write in pieces only the first have come. Its caller knows.
class SpoilJob final : public Job {
 public:
  SpoilJob(Ref<Client> client, Buffer& buffer)
      : Job(std::move(client)),
        buffer_(&buffer),
        failure_(new Failure(code::kOutOfMemory,
                             "the buffer was written in part: there was no memory for the rest")) {
    failure_->reported = true;
  }
  void execute() noexcept override {
    buffer_->failure = failure_;
    buffer_->device.failures++;
  }

 private:
  Ref<Buffer> buffer_;
  Ref<Failure> failure_;
};

Napi::Value write(Environment& environment, const Napi::CallbackInfo& info) {
  Buffer& buffer = environment.buffers.get(numberArgument(info, 0, "buffer"));
  const uint64_t offset = wholeArgument(info, 1, "byteOffset");
  const ByteView data = viewArgument(info, 2, "data");
  const Span span = spanOf(buffer, offset, data.bytes);
  Device& device = buffer.device;
  if (!isHere(device)) {
    const auto* const from = static_cast<const std::byte*>(data.data);
    uint64_t at = 0;
    do {
      const Span piece = {buffer, span.offset + at, std::min(kWritePiece, span.bytes - at)};
      const bool renews = at == 0 && span.bytes == buffer.bytes;
      Job* job;
      try {
        job = new WriteJob(environment.client, piece, from + at, renews);
      } catch (const std::bad_alloc&) {
        if (at > 0)
          buffer.lastTicket = device.queue.submit(new SpoilJob(environment.client, buffer));
        throw;
      }
      buffer.lastTicket = device.queue.submit(job);
      at += kWritePiece;
    } while (at < span.bytes);
    return info.Env().Undefined();
  }
  device.queue.wait(buffer.lastUse());
  if (device.api.upload(device.handle, buffer.memory, span.offset, data.data, span.bytes) !=
      FIGMENT_OK)
    device.throwLastError();
  if (span.bytes == buffer.bytes) buffer.failure = {};
  return info.Env().Undefined();
}

class ReadJob final : public DeviceJob, public Answer {
 public:
  ReadJob(Environment& environment, const Span& span, Napi::ArrayBuffer target)
      : DeviceJob(environment.client, span.buffer.device),
        Answer(environment, target.Env()),
        buffer_(&span.buffer),
        offset_(span.offset),
        bytes_(span.bytes),
        data_(target.Data()),
        target_(Napi::Persistent(target)) {}

  void deliver(Napi::Env env) noexcept override {
    if (failure_) return reject(env, *failure_);
    resolve(env, target_.Value());
  }

 private:
  void begin() noexcept override {
    failure_ = buffer_->failure;
    if (failure_) return;
    void* const staging = staging_.emplace(device_, bytes_).data();
    if (device_.api.download(device_.handle, buffer_->memory, offset_, staging ? staging : data_,
                             bytes_) != FIGMENT_OK)
      fail();
  }
  void end() noexcept override {
    if (!failure_ && staging_->data() && bytes_ > 0) std::memcpy(data_, staging_->data(), bytes_);
    staging_.reset();
  }
  void done() noexcept override { post(); }

  Ref<Buffer> buffer_;
  uint64_t offset_;
  uint64_t bytes_;
  void* data_;
  Napi::Reference<Napi::ArrayBuffer> target_;
  std::optional<PinnedMemory> staging_;
};

Napi::Value read(Environment& environment, const Napi::CallbackInfo& info) {
  const Span span = readArguments(environment, info);
  const Napi::Env env = info.Env();
  Napi::ArrayBuffer target = makeArrayBuffer(env, span.bytes);
  const Device& device = span.buffer.device;
  if (isHere(device) && device.queue.reached(span.buffer.lastUse()) &&
      span.bytes <= kImmediateRead) {
    ReadJob job(environment, span, target);
    job.execute();
    job.deliver(env);
    return job.promise();
  }
  auto* job = new ReadJob(environment, span, target);
  const Napi::Value promise = job->promise();
  environment.submit(span.buffer.device, job);
  return promise;
}

Napi::Value readSync(Environment& environment, const Napi::CallbackInfo& info) {
  const Span span = readArguments(environment, info);
  span.buffer.device.queue.wait(span.buffer.lastUse());
  if (span.buffer.failure) throwFailure(*span.buffer.failure);
  throwUnreported(environment);
  Napi::ArrayBuffer target = makeArrayBuffer(info.Env(), span.bytes);
  download(span, target.Data());
  return target;
}

/// The answer of settled(): known when all devices have been waited for.
class Settled final : public Answer {
 public:
  Settled(Environment& environment, Napi::Env env, size_t devices)
      : Answer(environment, env), waiting_(devices) {}

  /// Once for each device.
  void deviceDone() noexcept {
    if (waiting_.fetch_sub(1, std::memory_order_acq_rel) == 1) post();
  }
  void deliver(Napi::Env env) noexcept override {
    const Ref<Failure> failure = environment_.client->takeUnreported();
    if (failure) return reject(env, *failure);
    resolve(env, env.Undefined());
  }

 private:
  std::atomic<size_t> waiting_;
};

/// Waits for what the jobs before it have set going on a device.
class SettleJob final : public DeviceJob {
 public:
  SettleJob(Ref<Client> client, Device& device, Settled& answer)
      : DeviceJob(std::move(client), device), answer_(answer) {}
  ~SettleJob() override { answer_.deviceDone(); }

 private:
  Settled& answer_;
};

Napi::Value settled(Environment& environment, const Napi::CallbackInfo& info) {
  const std::vector<Device*> devices = openDevices();
  auto* answer = new Settled(environment, info.Env(), devices.size());
  const Napi::Value promise = answer->promise();
  environment.awaitAnswer();
  for (Device* device : devices)
    device->queue.submit(new SettleJob(environment.client, *device, *answer));
  return promise;
}

Napi::Value settleSync(Environment& environment, const Napi::CallbackInfo& info) {
  for (Device* device : openDevices()) device->settle();
  throwUnreported(environment);
  return info.Env().Undefined();
}

}  // namespace

void exportMemoryCalls(Napi::Object exports, Environment& environment) {
  exportFunction<allocate>(exports, environment, "allocate");
  exportFunction<release>(exports, environment, "release");
  exportFunction<byteLength>(exports, environment, "byteLength");
  exportFunction<write>(exports, environment, "write");
  exportFunction<read>(exports, environment, "read");
  exportFunction<readSync>(exports, environment, "readSync");
  exportFunction<settled>(exports, environment, "settled");
  exportFunction<settleSync>(exports, environment, "settleSync");
}

}  // namespace figment
