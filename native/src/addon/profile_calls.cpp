// Per-record timings: profile, takeProfile.
#include "arguments.h"
#include "calls.h"

namespace figment {
namespace {

Napi::Value profile(Environment&, const Napi::CallbackInfo& info) {
  const bool on = booleanArgument(info, 0, "on");
  cpu().setProfiling(on);
  return info.Env().Undefined();
}

Napi::Value takeProfile(Environment&, const Napi::CallbackInfo& info) {
  std::vector<FigmentTiming> timings;
  cpu().api.take_profile(
      cpu().handle,
      [](void* context, const FigmentTiming* timing) {
        static_cast<std::vector<FigmentTiming>*>(context)->push_back(*timing);
      },
      &timings);
  Napi::Array array = Napi::Array::New(info.Env(), timings.size());
  for (uint32_t i = 0; i < timings.size(); i++) {
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("tag", double(timings[i].tag));
    object.Set("op", timings[i].op);
    object.Set("variant", timings[i].variant);
    object.Set("startMicros", timings[i].start_micros);
    object.Set("micros", timings[i].micros);
    array.Set(i, object);
  }
  return array;
}

}  // namespace

void exportProfileCalls(Napi::Object exports, Environment& environment) {
  exportFunction<profile>(exports, environment, "profile");
  exportFunction<takeProfile>(exports, environment, "takeProfile");
}

}  // namespace figment
