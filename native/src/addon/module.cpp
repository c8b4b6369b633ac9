// The module: called once per environment that loads it.
#include <napi.h>

#include "../kernels/registry.h"
#include "../runtime/backend_loader.h"
#include "calls.h"

namespace figment {
namespace {

/// Bumped when a function of the binding changes its meaning or signature (native/ts/binding.ts).
constexpr int kBindingAbiVersion = 1;

/// Process-wide preparations; throws Error for an environment variable that makes no sense, and is
/// tried again by the next environment then.
void initializeProcess() {
  static const bool done = [] {
    pinLibrary();
    configureRegistryFromEnvironment();
    cpu();
    return true;
  }();
  (void)done;
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  try {
    initializeProcess();
    auto* environment = new Environment(env);
    env.SetInstanceData(environment);
    exports.Set("abiVersion", Napi::Number::New(env, kBindingAbiVersion));
    exportDeviceCalls(exports, *environment);
    exportMemoryCalls(exports, *environment);
    exportProgramCalls(exports, *environment);
    exportRunCalls(exports, *environment);
    exportChoiceCalls(exports, *environment);
    exportProfileCalls(exports, *environment);
    return exports;
  } catch (const Error& error) {
    throwError(env, error.code(), error.message());
    return {};
  }
}

}  // namespace
}  // namespace figment

// The macro below pastes a plain function name.
static Napi::Object initializeFigment(Napi::Env env, Napi::Object exports) {
  return figment::initialize(env, exports);
}
NODE_API_MODULE(figment, initializeFigment)
