// How kernels were chosen, and what decides it: programChoices, measureRecord, addMeasured.
#include "arguments.h"
#include "calls.h"

namespace figment {
namespace {

constexpr const char* kReasons[] = {"only", "estimated", "shipped", "measured", "forced"};

FigmentChoice choiceOf(const LoadedProgram& program, uint32_t record) {
  FigmentChoice choice = {};
  choice.size = sizeof(choice);
  choice.key = "";
  if (program.device.api.record_choice &&
      program.device.api.record_choice(program.handle, record, &choice) != FIGMENT_OK)
    program.device.throwLastError();
  return choice;
}

Napi::Value programChoices(Environment& environment, const Napi::CallbackInfo& info) {
  const LoadedProgram& program = environment.programs.get(numberArgument(info, 0, "program"));
  Napi::Env env = info.Env();
  Napi::Array choices = Napi::Array::New(env, program.info.record_count);
  for (uint32_t r = 0; r < program.info.record_count; r++) {
    const FigmentChoice choice = choiceOf(program, r);
    Napi::Array candidates = Napi::Array::New(env, choice.candidate_count);
    for (uint32_t c = 0; c < choice.candidate_count; c++) candidates.Set(c, choice.candidates[c]);
    Napi::Object object = Napi::Object::New(env);
    object.Set("reason", kReasons[choice.reason]);
    object.Set("key", choice.key);
    object.Set("candidates", candidates);
    object.Set("measurable", choice.measurable != 0);
    choices.Set(r, object);
  }
  return choices;
}

Napi::Value measureRecord(Environment& environment, const Napi::CallbackInfo& info) {
  LoadedProgram& program = environment.programs.get(numberArgument(info, 0, "program"));
  const uint64_t record = wholeArgument(info, 1, "record");
  if (record >= program.info.record_count)
    throw Error(code::kArgument,
                "record: the program has " + std::to_string(program.info.record_count));
  const FigmentChoice choice = choiceOf(program, uint32_t(record));
  if (!choice.measurable)
    throw Error(code::kArgument, "record: there is nothing to choose for it by measuring");
  std::vector<double> micros(choice.candidate_count);
  Device& device = program.device;
  {
    device.queue.drain();
    std::lock_guard lock(device.queue.executionLock());
    if (device.api.measure_record(device.handle, program.handle, uint32_t(record), micros.data()) !=
        FIGMENT_OK)
      device.throwLastError();
  }
  Napi::Object times = Napi::Object::New(info.Env());
  for (uint32_t c = 0; c < choice.candidate_count; c++)
    if (micros[c] >= 0) times.Set(choice.candidates[c], micros[c]);
  return times;
}

Napi::Value addMeasuredCall(Environment&, const Napi::CallbackInfo& info) {
  const std::string isaText = stringArgument(info, 0, "isa");
  const std::string from = stringArgument(info, 1, "origin");
  if (from != "shipped" && from != "here")
    throw Error(code::kArgument, "origin: expected shipped or here, not \"" + from + "\"");
  const std::string key = stringArgument(info, 2, "key");
  const std::string variant = stringArgument(info, 3, "variant");
  const Device& device = deviceArgument(info, 4);
  if (device.api.add_measured(isaText.c_str(), from == "here", key.c_str(), variant.c_str()) !=
      FIGMENT_OK)
    device.throwLastError();
  return info.Env().Undefined();
}

}  // namespace

void exportChoiceCalls(Napi::Object exports, Environment& environment) {
  exportFunction<programChoices>(exports, environment, "programChoices");
  exportFunction<measureRecord>(exports, environment, "measureRecord");
  exportFunction<addMeasuredCall>(exports, environment, "addMeasured");
}

}  // namespace figment
