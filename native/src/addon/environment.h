// What one JavaScript environment (the main thread or a worker) owns: its handle tables, its count
// of live memory, and the way back from the queue threads to its event loop.
#pragma once

#include <napi.h>

#include <mutex>
#include <vector>

#include "../runtime/device.h"
#include "handles.h"

namespace figment {

/// What JavaScript has been promised. Once it is known, post() hands it to its environment, whose
/// event loop then calls deliver(), once, and deletes it.
class Answer {
 public:
  Answer(class Environment& environment, Napi::Env env);
  virtual ~Answer() = default;

  /// The promise; only in the call that made the answer.
  Napi::Value promise() const { return promise_; }
  /// By any thread.
  void post() noexcept;
  /// On the JavaScript thread, with a handle scope open: answers by resolve() or reject().
  virtual void deliver(Napi::Env env) noexcept = 0;

 protected:
  // A terminating environment refuses both; there is nobody left to tell.
  void resolve(napi_env env, napi_value value) { napi_resolve_deferred(env, deferred_, value); }
  void reject(napi_env env, Failure& failure);

  Environment& environment_;

 private:
  napi_deferred deferred_ = nullptr;
  Napi::Value promise_;
};

/// A job that makes an answer.
class AnsweringJob : public Job, public Answer {
 public:
  AnsweringJob(Environment& environment, Napi::Env env);
  void finish() noexcept final { post(); }
};

/// Live buffers.
struct LiveMemory {
  uint64_t bytes = 0;
  uint64_t buffers = 0;
};

class Environment {
 public:
  explicit Environment(Napi::Env env);
  ~Environment();

  HandleTable<Buffer, HandleKind::buffer> buffers;
  HandleTable<LoadedProgram, HandleKind::program> programs;
  HandleTable<Binding, HandleKind::binding> bindings;
  HandleTable<CancelToken, HandleKind::cancel> cancels;
  const Ref<Client> client = new Client;

  uint32_t profiles = 0;  ///< profile(true) without its profile(false)

  /// A fresh buffer, counted as live and known to the garbage collector.
  double addBuffer(Device& device, uint64_t bytes);
  void removeBuffer(double handle);
  /// This environment's live buffers on a device.
  LiveMemory& liveOn(const Device& device);

  /// Keeps the process alive until one more answer has been delivered.
  void awaitAnswer();
  /// Queues a job that makes an answer, which is awaited.
  void submit(Device& device, Job* job);

 private:
  friend class Answer;

  void post(Answer* answer) noexcept;
  void deliverAll();
  void tellExternalMemory();
  void close();
  static void closeHook(void* environment);
  static void onWake(napi_env env, napi_value callback, void* context, void* data);

  /// The garbage collector hears of external memory in steps of this size: telling it costs more
  /// than a small operation.
  static constexpr int64_t kExternalStep = int64_t(4) << 20;
  /// And of more only once so many buffers have come without bringing it below: a loop that
  /// disposes of its large results would have it collect at each of them.
  static constexpr int kPatience = 8;
  /// More than this is never kept from it.
  static constexpr int64_t kMostUntold = int64_t(256) << 20;

  napi_env env_;
  napi_threadsafe_function wake_ = nullptr;
  uint64_t pendingAnswers_ = 0;
  int64_t untoldBytes_ = 0;
  int buffersUntold_ = 0;         ///< that have come while there were kExternalStep untold bytes
  std::vector<LiveMemory> live_;  // by Device::index
  std::mutex mutex_;
  std::vector<Answer*> answers_;  // guarded by mutex_
};

/// A JavaScript Error with `.code`; null when the environment is terminating.
napi_value makeError(napi_env env, const std::string& code, const std::string& message);
void throwError(napi_env env, const std::string& code, const std::string& message);

/// The one way a native function is exported: C++ exceptions become JavaScript errors with a code.
template <Napi::Value (*F)(Environment&, const Napi::CallbackInfo&)>
Napi::Value exported(const Napi::CallbackInfo& info) {
  try {
    return F(*static_cast<Environment*>(info.Data()), info);
  } catch (const Error& error) {
    throwError(info.Env(), error.code(), error.message());
  } catch (const std::bad_alloc&) {
    throwError(info.Env(), code::kOutOfMemory, "out of memory");
  }
  return {};
}

template <Napi::Value (*F)(Environment&, const Napi::CallbackInfo&)>
void exportFunction(Napi::Object exports, Environment& environment, const char* name) {
  exports.Set(name, Napi::Function::New<exported<F>>(exports.Env(), name, &environment));
}

}  // namespace figment
