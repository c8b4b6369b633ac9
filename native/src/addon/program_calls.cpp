// Programs and their state: loadProgram, releaseProgram, programInfo, bind, releaseBinding.
#include "arguments.h"
#include "calls.h"

namespace figment {
namespace {

Napi::Value loadProgram(Environment& environment, const Napi::CallbackInfo& info) {
  const ByteView blob = viewArgument(info, 0, "blob");
  const std::string variant = optionalStringArgument(info, 1, "variant");
  Device& device = deviceArgument(info, 2);
  Ref<LoadedProgram> program = new LoadedProgram(device, blob.data, blob.bytes, variant.c_str());
  return Napi::Number::New(info.Env(), environment.programs.add(std::move(program)));
}

Napi::Value releaseProgram(Environment& environment, const Napi::CallbackInfo& info) {
  environment.programs.remove(numberArgument(info, 0, "program"));
  return info.Env().Undefined();
}

Napi::Value packingOf(Napi::Env env, const LoadedProgram& program, uint32_t record) {
  const FigmentBackend& api = program.device.api;
  FigmentPackingInfo packing = {};
  packing.size = sizeof(packing);
  if (!api.record_packing || !api.record_packing(program.handle, record, &packing))
    return env.Null();
  Napi::Object object = Napi::Object::New(env);
  object.Set("bytes", double(packing.bytes));
  object.Set("packed", double(packing.packed));
  object.Set("reused", double(packing.reused));
  return object;
}

Napi::Value programInfo(Environment& environment, const Napi::CallbackInfo& info) {
  const LoadedProgram& program = environment.programs.get(numberArgument(info, 0, "program"));
  const FigmentProgramInfo& about = program.info;
  const auto fallbacks = program.device.api.record_fallbacks;
  Napi::Env env = info.Env();
  Napi::Array records = Napi::Array::New(env, about.record_count);
  for (uint32_t r = 0; r < about.record_count; r++) {
    const FigmentRecordInfo& record = about.records[r];
    Napi::Object object = Napi::Object::New(env);
    object.Set("op", record.op);
    object.Set("variant", record.variant);
    object.Set("flops", record.flops);
    object.Set("bytes", record.bytes);
    object.Set("tag", double(record.tag));
    object.Set("fallbacks", fallbacks ? double(fallbacks(program.handle, r)) : 0.0);
    object.Set("packing", packingOf(env, program, r));
    records.Set(r, object);
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("id", double(about.id));
  object.Set("arenaBytes", double(about.arena_bytes));
  object.Set("predictedMicros", about.predicted_micros);
  object.Set("records", records);
  return object;
}

Napi::Value bind(Environment& environment, const Napi::CallbackInfo& info) {
  Ref<LoadedProgram> program = &environment.programs.get(numberArgument(info, 0, "program"));
  const NumberView handles = numbersArgument(info, 1, "state");
  if (handles.length < program->info.state_count)
    throw Error(code::kArgument, "state: expected " + std::to_string(program->info.state_count) +
                                     " buffers, got " + std::to_string(handles.length));
  std::vector<Ref<Buffer>> states;
  for (uint32_t s = 0; s < program->info.state_count; s++)
    states.emplace_back(&environment.buffers.get(handles.data[s]));
  Ref<Binding> binding = new Binding(std::move(program), std::move(states));
  return Napi::Number::New(info.Env(), environment.bindings.add(std::move(binding)));
}

Napi::Value releaseBinding(Environment& environment, const Napi::CallbackInfo& info) {
  environment.bindings.remove(numberArgument(info, 0, "binding"))->retire();
  return info.Env().Undefined();
}

}  // namespace

void exportProgramCalls(Napi::Object exports, Environment& environment) {
  exportFunction<loadProgram>(exports, environment, "loadProgram");
  exportFunction<releaseProgram>(exports, environment, "releaseProgram");
  exportFunction<programInfo>(exports, environment, "programInfo");
  exportFunction<bind>(exports, environment, "bind");
  exportFunction<releaseBinding>(exports, environment, "releaseBinding");
}

}  // namespace figment
