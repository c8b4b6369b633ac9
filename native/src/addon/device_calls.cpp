// The machine and its settings: cpu, devices, threads, instruction set, memory, registered kernels.
#include "../kernels/fallbacks.h"
#include "../kernels/registry.h"
#include "../runtime/cpu_device.h"
#include "../runtime/cpu_features.h"
#include "../runtime/kernel_library.h"
#include "../runtime/machine.h"
#include "arguments.h"
#include "calls.h"

namespace figment {
namespace {

Napi::Array strings(Napi::Env env, const std::vector<std::string>& values) {
  Napi::Array array = Napi::Array::New(env, values.size());
  for (uint32_t i = 0; i < values.size(); i++) array.Set(i, Napi::String::New(env, values[i]));
  return array;
}

Napi::Value cpuInfo(Environment&, const Napi::CallbackInfo& info) {
  const CpuFeatures& features = cpuFeatures();
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("name", features.name);
  object.Set("family", features.family);
  object.Set("cores", double(usableCores()));
  object.Set("isa", isaName(isaLimit()));
  object.Set("features", strings(info.Env(), features.features));
  object.Set("threads", double(cpuDevice().threads()));
  return object;
}

Napi::Value buildInfo(Environment&, const Napi::CallbackInfo& info) {
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("compiler", FIGMENT_COMPILER);
  object.Set("flags", FIGMENT_FLAGS);
  return object;
}

Napi::Value threads(Environment&, const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), cpuDevice().threads());
}

Napi::Value setThreads(Environment&, const Napi::CallbackInfo& info) {
  const uint64_t count = wholeArgument(info, 0, "threads", ThreadPool::kMaxThreads);
  if (count == 0) throw Error(code::kArgument, "threads: expected at least 1");
  cpuDevice().setThreads(int(count));
  return info.Env().Undefined();
}

Napi::Value setIsa(Environment&, const Napi::CallbackInfo& info) {
  const std::string name = optionalStringArgument(info, 0, "isa");
  Isa isa = cpuFeatures().best;
  if (!name.empty() && !parseIsa(name, isa))
    throw Error(code::kArgument,
                "isa: expected generic, avx2, avx512, amx or null, not \"" + name + "\"");
  setIsaLimit(isa);
  return info.Env().Undefined();
}

Napi::Value listDevices(Environment&, const Napi::CallbackInfo& info) {
  const DeviceList& list = devices();
  Napi::Array array = Napi::Array::New(info.Env());
  for (const Device* device : list.devices) {
    const FigmentDeviceInfo about = device->info();
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("kind", about.kind);
    object.Set("index", double(device->index));
    object.Set("name", about.name);
    object.Set("memoryLimit", double(about.memory_bytes));
    array.Set(array.Length(), object);
  }
  for (const UnavailableDevice& device : list.unavailable) {
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("kind", device.kind);
    object.Set("reason", device.reason);
    array.Set(array.Length(), object);
  }
  return array;
}

Napi::Value ops(Environment&, const Napi::CallbackInfo& info) {
  std::vector<std::string> names;
  for (const RegisteredOp* op : registeredOps()) names.push_back(op->spec.name);
  return strings(info.Env(), names);
}

/// The kernels of an operation up to the given instruction set.
Napi::Value variantsUpTo(Isa widest, const Napi::CallbackInfo& info) {
  const std::string name = stringArgument(info, 0, "op");
  const RegisteredOp* op = findOp(name);
  if (!op) throw Error(code::kArgument, "op: unknown operation \"" + name + "\"");
  Napi::Array array = Napi::Array::New(info.Env());
  for (const RegisteredVariant& variant : op->variants) {
    if (variant.isa > widest) continue;
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("name", variant.name);
    object.Set("isa", isaName(variant.isa));
    array.Set(array.Length(), object);
  }
  return array;
}

Napi::Value variants(Environment&, const Napi::CallbackInfo& info) {
  return variantsUpTo(cpuFeatures().best, info);
}

Napi::Value builtVariants(Environment&, const Napi::CallbackInfo& info) {
  return variantsUpTo(Isa::amx, info);
}

Napi::Value loadKernels(Environment&, const Napi::CallbackInfo& info) {
  const LoadedLibrary library = loadKernelLibrary(stringArgument(info, 0, "path"));
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("name", library.name);
  object.Set("ops", strings(info.Env(), library.ops));
  return object;
}

Napi::Value memory(Environment& environment, const Napi::CallbackInfo& info) {
  const FigmentMemoryInfo now = cpu().memory();
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("live", double(environment.liveBytes));
  object.Set("liveBuffers", double(environment.liveBuffers));
  object.Set("inUse", double(now.in_use));
  object.Set("cached", double(now.cached));
  object.Set("peak", double(now.peak));
  object.Set("systemAllocations", double(now.system_allocations));
  object.Set("packed", double(now.packed));
  object.Set("limit", double(now.limit));
  return object;
}

Napi::Value setMemoryLimit(Environment&, const Napi::CallbackInfo& info) {
  cpu().setMemoryLimit(wholeArgument(info, 0, "bytes"));
  return info.Env().Undefined();
}

Napi::Value trim(Environment&, const Napi::CallbackInfo& info) {
  cpu().trim();
  return info.Env().Undefined();
}

Napi::Value setPoison(Environment&, const Napi::CallbackInfo& info) {
  const bool on = booleanArgument(info, 0, "on");
  cpu().api.set_poison(cpu().handle, on);
  return info.Env().Undefined();
}

Napi::Value setEmulatedTiles(Environment&, const Napi::CallbackInfo& info) {
  emulatedTilesServe().store(booleanArgument(info, 0, "on"), std::memory_order_relaxed);
  return info.Env().Undefined();
}

}  // namespace

void exportDeviceCalls(Napi::Object exports, Environment& environment) {
  exportFunction<cpuInfo>(exports, environment, "cpu");
  exportFunction<buildInfo>(exports, environment, "build");
  exportFunction<threads>(exports, environment, "threads");
  exportFunction<setThreads>(exports, environment, "setThreads");
  exportFunction<setIsa>(exports, environment, "setIsa");
  exportFunction<listDevices>(exports, environment, "devices");
  exportFunction<ops>(exports, environment, "ops");
  exportFunction<variants>(exports, environment, "variants");
  exportFunction<builtVariants>(exports, environment, "builtVariants");
  exportFunction<loadKernels>(exports, environment, "loadKernels");
  exportFunction<memory>(exports, environment, "memory");
  exportFunction<setMemoryLimit>(exports, environment, "setMemoryLimit");
  exportFunction<trim>(exports, environment, "trim");
  exportFunction<setPoison>(exports, environment, "setPoison");
  exportFunction<setEmulatedTiles>(exports, environment, "setEmulatedTiles");
}

}  // namespace figment
