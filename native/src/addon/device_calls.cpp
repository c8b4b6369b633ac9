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

Device& deviceArgument(const Napi::CallbackInfo& info, size_t index) {
  if (info.Length() <= index || info[index].IsUndefined()) return cpu();
  const uint64_t number = wholeArgument(info, index, "device");
  if (number == 0) return cpu();
  const std::vector<Device*>& all = devices().devices;
  if (number >= all.size())
    throw Error(code::kArgument, "device: there is no device " + std::to_string(number));
  return *all[size_t(number)];
}

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
  Isa isa = bestIsa();
  if (!name.empty() && !parseIsa(name, isa))
    throw Error(
        code::kArgument,
        "isa: expected generic, avx2, avx512, avx512bf16, amx or null, not \"" + name + "\"");
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
    object.Set("isa", about.isa);
    object.Set("capability", double(about.capability));
    object.Set("multiprocessors", double(about.multiprocessors));
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
  deviceArgument(info, 0).api.each_op(
      [](void* context, const char* op) {
        static_cast<std::vector<std::string>*>(context)->push_back(op);
      },
      &names);
  return strings(info.Env(), names);
}

Napi::Value variants(Environment&, const Napi::CallbackInfo& info) {
  const std::string op = stringArgument(info, 0, "op");
  const Device& device = deviceArgument(info, 1);
  Napi::Array array = Napi::Array::New(info.Env());
  device.api.each_variant(
      op.c_str(),
      [](void* context, const char* name, const char* isa) {
        auto& list = *static_cast<Napi::Array*>(context);
        Napi::Object object = Napi::Object::New(list.Env());
        object.Set("name", name);
        object.Set("isa", isa);
        list.Set(list.Length(), object);
      },
      &array);
  if (array.Length() == 0) throw Error(code::kArgument, "op: unknown operation \"" + op + "\"");
  return array;
}

/// All kernels of an operation on the CPU, those for other machines included.
Napi::Value builtVariants(Environment&, const Napi::CallbackInfo& info) {
  const std::string name = stringArgument(info, 0, "op");
  const RegisteredOp* op = findOp(name);
  if (!op) throw Error(code::kArgument, "op: unknown operation \"" + name + "\"");
  Napi::Array array = Napi::Array::New(info.Env());
  for (const RegisteredVariant& variant : op->variants) {
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("name", variant.name);
    object.Set("isa", isaName(variant.isa));
    array.Set(array.Length(), object);
  }
  return array;
}

Napi::Value loadKernels(Environment&, const Napi::CallbackInfo& info) {
  const LoadedLibrary library = loadKernelLibrary(stringArgument(info, 0, "path"));
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("name", library.name);
  object.Set("ops", strings(info.Env(), library.ops));
  return object;
}

Napi::Value memory(Environment& environment, const Napi::CallbackInfo& info) {
  const Device& device = deviceArgument(info, 0);
  const FigmentMemoryInfo now = device.memory();
  const LiveMemory& live = environment.liveOn(device);
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("live", double(live.bytes));
  object.Set("liveBuffers", double(live.buffers));
  object.Set("inUse", double(now.in_use));
  object.Set("cached", double(now.cached));
  object.Set("peak", double(now.peak));
  object.Set("systemAllocations", double(now.system_allocations));
  object.Set("packed", double(now.packed));
  object.Set("limit", double(now.limit));
  return object;
}

Napi::Value setMemoryLimit(Environment&, const Napi::CallbackInfo& info) {
  deviceArgument(info, 1).setMemoryLimit(wholeArgument(info, 0, "bytes"));
  return info.Env().Undefined();
}

Napi::Value trim(Environment&, const Napi::CallbackInfo& info) {
  deviceArgument(info, 0).trim();
  return info.Env().Undefined();
}

Napi::Value setPoison(Environment&, const Napi::CallbackInfo& info) {
  const bool on = booleanArgument(info, 0, "on");
  const Device& device = deviceArgument(info, 1);
  device.api.set_poison(device.handle, on);
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
