// Life of an environment: created when the module initialises, closed by a clean-up hook that runs
// before Node tears anything down, destroyed with the instance data.
#include "environment.h"

#include <cstdlib>

namespace figment {

Answer::Answer(Environment& environment, Napi::Env env) : environment_(environment) {
  napi_value promise;
  if (napi_create_promise(env, &deferred_, &promise) != napi_ok)
    throw Error(code::kDevice, "JavaScript cannot make a promise");
  promise_ = Napi::Value(env, promise);
}

void Answer::reject(napi_env env, Failure& failure) {
  failure.reported = true;
  napi_reject_deferred(env, deferred_, makeError(env, failure.code, failure.message));
}

void Answer::post() noexcept { environment_.post(this); }

AnsweringJob::AnsweringJob(Environment& environment, Napi::Env env)
    : Job(environment.client), Answer(environment, env) {}

Environment::Environment(Napi::Env env) : env_(env) {
  napi_value name = Napi::String::New(env, "figment");
  if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this,
                                      onWake, &wake_) != napi_ok)
    throw Error(code::kDevice, "cannot create a thread-safe function");
  napi_unref_threadsafe_function(env, wake_);
  // Hooks run in reverse order: this one before the thread-safe function's own.
  napi_add_env_cleanup_hook(env, closeHook, this);
}

Environment::~Environment() {
  // Answers that never reached JavaScript.
  for (Answer* answer : answers_) delete answer;
}

double Environment::addBuffer(Device& device, uint64_t bytes) {
  const double handle = buffers.add(new Buffer(device, bytes));
  LiveMemory& live = liveOn(device);
  live.bytes += bytes;
  live.buffers++;
  untoldBytes_ += int64_t(bytes);
  buffersUntold_ = untoldBytes_ < kExternalStep ? 0 : buffersUntold_ + 1;
  if (buffersUntold_ == kPatience || untoldBytes_ >= kMostUntold) tellExternalMemory();
  return handle;
}

void Environment::removeBuffer(double handle) {
  const Ref<Buffer> buffer = buffers.remove(handle);
  const uint64_t bytes = buffer->bytes;
  LiveMemory& live = liveOn(buffer->device);
  live.bytes -= bytes;
  live.buffers--;
  untoldBytes_ -= int64_t(bytes);
  if (untoldBytes_ <= -kExternalStep) tellExternalMemory();
}

LiveMemory& Environment::liveOn(const Device& device) {
  const size_t index = size_t(device.index);
  if (live_.size() <= index) live_.resize(index + 1);
  return live_[index];
}

void Environment::tellExternalMemory() {
  int64_t total;
  napi_adjust_external_memory(env_, untoldBytes_, &total);
  untoldBytes_ = 0;
  buffersUntold_ = 0;
}

void Environment::awaitAnswer() {
  if (pendingAnswers_++ == 0) napi_ref_threadsafe_function(env_, wake_);
}

void Environment::submit(Device& device, Job* job) {
  awaitAnswer();
  device.queue.submit(job);
}

void Environment::post(Answer* answer) noexcept {
  std::lock_guard lock(mutex_);
  answers_.push_back(answer);
  // The function's queue is unbounded and this environment open, so this cannot be refused.
  napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
}

void Environment::deliverAll() {
  std::vector<Answer*> answers;
  {
    std::lock_guard lock(mutex_);
    answers.swap(answers_);
  }
  for (Answer* answer : answers) {
    {
      Napi::HandleScope scope(env_);
      answer->deliver(env_);
    }
    delete answer;
    if (--pendingAnswers_ == 0) napi_unref_threadsafe_function(env_, wake_);
  }
}

void Environment::onWake(napi_env env, napi_value, void* context, void*) {
  if (env) static_cast<Environment*>(context)->deliverAll();
}

void Environment::closeHook(void* environment) { static_cast<Environment*>(environment)->close(); }

void Environment::close() {
  client->close();
  for (Device* device : openDevices()) {
    device->queue.discardJobsOf(*client);
    device->waits.discardJobsOf(*client);  // to which those of the queue have gone on
  }
  for (; profiles > 0; profiles--) setProfiling(false);
}

napi_value makeError(napi_env env, const std::string& code, const std::string& message) {
  napi_value codeValue, messageValue, error = nullptr;
  if (napi_create_string_utf8(env, code.data(), code.size(), &codeValue) == napi_ok &&
      napi_create_string_utf8(env, message.data(), message.size(), &messageValue) == napi_ok)
    napi_create_error(env, codeValue, messageValue, &error);
  return error;
}

void throwError(napi_env env, const std::string& code, const std::string& message) {
  if (napi_value error = makeError(env, code, message)) napi_throw(env, error);
}

}  // namespace figment
