// Profiles and what they are held against: profile, readProfile, profileClock, measureCeilings.
#include <unordered_map>

#include "../runtime/thread_pool.h"
#include "../runtime/timeline.h"
#include "arguments.h"
#include "calls.h"

namespace figment {
namespace {

Napi::Value profile(Environment& environment, const Napi::CallbackInfo& info) {
  const bool on = booleanArgument(info, 0, "on");
  if (!on && environment.profiles == 0) return info.Env().Undefined();
  on ? environment.profiles++ : environment.profiles--;
  setProfiling(on);
  return info.Env().Undefined();
}

/// Names by number: each is handed to JavaScript once.
class NameTable {
 public:
  explicit NameTable(Napi::Env env) : names_(Napi::Array::New(env)) {}

  double number(const char* name) {
    if (!name) return -1;
    const auto [entry, fresh] = numbers_.try_emplace(name, uint32_t(numbers_.size()));
    if (fresh) names_.Set(entry->second, name);
    return entry->second;
  }
  Napi::Array names() const { return names_; }

 private:
  Napi::Array names_;
  std::unordered_map<const char*, uint32_t> numbers_;
};

Napi::Value readProfile(Environment&, const Napi::CallbackInfo& info) {
  const uint64_t since = wholeArgument(info, 0, "since");
  const Device& device = deviceArgument(info, 1);
  std::vector<FigmentTiming> timings;
  const uint64_t first = device.api.read_profile(
      device.handle, since,
      [](void* context, const FigmentTiming* timing) {
        static_cast<std::vector<FigmentTiming>*>(context)->push_back(*timing);
      },
      &timings);

  Napi::Env env = info.Env();
  NameTable names(env);
  constexpr size_t kFields = 9;  // native/ts/profile.ts names them
  auto events = Napi::Float64Array::New(env, timings.size() * kFields);
  double* to = events.Data();
  for (const FigmentTiming& timing : timings) {
    for (const uint32_t field :
         {timing.kind, timing.worker, timing.program, timing.record, timing.tag})
      *to++ = field;
    *to++ = names.number(timing.op);
    *to++ = names.number(timing.variant);
    *to++ = timing.start_micros;
    *to++ = timing.micros;
  }
  Napi::Object chunk = Napi::Object::New(env);
  chunk.Set("first", double(first));
  chunk.Set("names", names.names());
  chunk.Set("events", events);
  return chunk;
}

Napi::Value profileClock(Environment&, const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), Timeline::now());
}

/// In the queue, so that no kernel runs beside it.
class CeilingsJob final : public AnsweringJob {
 public:
  CeilingsJob(Environment& environment, Napi::Env env, Device& device, int threads)
      : AnsweringJob(environment, env), device_(device), threads_(threads) {}

  void execute() noexcept override {
    const FigmentStatus status = device_.api.measure_ceilings(
        device_.handle, threads_,
        [](void* context, const FigmentCeiling* ceiling) {
          static_cast<std::vector<FigmentCeiling>*>(context)->push_back(*ceiling);
        },
        &ceilings_);
    if (status == FIGMENT_OK) return;
    const FigmentError* error = device_.api.last_error();
    failure_ = new Failure(error->code, std::string("ceilings: ") + error->message);
  }

  void deliver(Napi::Env env) noexcept override {
    if (failure_) return reject(env, *failure_);
    Napi::Object fma = Napi::Object::New(env);
    Napi::Array copy = Napi::Array::New(env);
    for (const FigmentCeiling& ceiling : ceilings_) {
      if (ceiling.isa) {
        fma.Set(ceiling.isa, ceiling.rate);
        continue;
      }
      Napi::Object entry = Napi::Object::New(env);
      entry.Set("bytes", double(ceiling.bytes));
      entry.Set("gbps", ceiling.rate);
      copy.Set(copy.Length(), entry);
    }
    Napi::Object object = Napi::Object::New(env);
    object.Set("threads", double(threads_));
    object.Set("fma", fma);
    object.Set("copy", copy);
    resolve(env, object);
  }

 private:
  Device& device_;
  int threads_;
  std::vector<FigmentCeiling> ceilings_;
  Ref<Failure> failure_;
};

Napi::Value measure(Environment& environment, const Napi::CallbackInfo& info) {
  const uint64_t threads = wholeArgument(info, 0, "threads", ThreadPool::kMaxThreads);
  if (threads == 0) throw Error(code::kArgument, "threads: expected at least 1");
  Device& device = deviceArgument(info, 1);
  auto* job = new CeilingsJob(environment, info.Env(), device, int(threads));
  const Napi::Value promise = job->promise();
  environment.submit(device, job);
  return promise;
}

}  // namespace

void exportProfileCalls(Napi::Object exports, Environment& environment) {
  exportFunction<profile>(exports, environment, "profile");
  exportFunction<readProfile>(exports, environment, "readProfile");
  exportFunction<profileClock>(exports, environment, "profileClock");
  exportFunction<measure>(exports, environment, "measureCeilings");
}

}  // namespace figment
