// The hot call: run. And the tokens that stop it: createCancel, cancel, releaseCancel.
#include "../runtime/run.h"
#include "arguments.h"
#include "calls.h"

namespace figment {
namespace {

/// Buffers of one run on the stack; programs with more use the heap.
constexpr size_t kInlineBuffers = 32;

class BufferList {
 public:
  explicit BufferList(size_t count) {
    if (count > kInlineBuffers) {
      heap_.resize(count);
      data_ = heap_.data();
    }
  }
  Buffer** data() { return data_; }

 private:
  Buffer* inline_[kInlineBuffers];
  std::vector<Buffer*> heap_;
  Buffer** data_ = inline_;
};

/// Releases the outputs of a run that could not be submitted.
class FreshOutputs {
 public:
  FreshOutputs(Environment& environment, double* handles)
      : environment_(environment), handles_(handles) {}
  ~FreshOutputs() { remove(); }
  void remove() {
    for (uint32_t i = 0; i < count_; i++) environment_.removeBuffer(handles_[i]);
    count_ = 0;
  }
  Buffer* add(Device& device, uint64_t bytes) {
    handles_[count_] = environment_.addBuffer(device, bytes);
    return &environment_.buffers.get(handles_[count_++]);
  }
  void keep() { count_ = 0; }

 private:
  Environment& environment_;
  double* handles_;
  uint32_t count_ = 0;
};

/// The numbers that lie behind the handles, for input i, whose handle is 0.
const double* numbersBehind(const NumberView& inputs, const LoadedProgram& program, uint32_t i) {
  const FigmentProgramInfo& about = program.info;
  const std::string input = "input " + std::to_string(i);
  if (inputs.length < 2 * size_t(about.input_count))
    throw Error(code::kArgument, input + " has no buffer, and there is no number behind the " +
                                     std::to_string(about.input_count) + " inputs");
  if (about.input_bytes[i] > sizeof(double))
    throw Error(code::kArgument, input + " is a number, the program needs " +
                                     std::to_string(about.input_bytes[i]) + " bytes");
  return inputs.data + about.input_count;
}

Napi::Value run(Environment& environment, const Napi::CallbackInfo& info) {
  LoadedProgram& program = environment.programs.get(numberArgument(info, 0, "program"));
  const FigmentProgramInfo& about = program.info;
  const double bindingHandle = numberArgument(info, 1, "binding");
  const NumberView inputs = numbersArgument(info, 2, "inputs");
  const NumberView outputs = numbersArgument(info, 3, "outputs");
  const double cancelHandle = numberArgument(info, 4, "cancel");

  Binding* binding = bindingHandle == 0 ? nullptr : &environment.bindings.get(bindingHandle);
  if (binding && binding->program.get() != &program)
    throw Error(code::kArgument, "binding: made for another program");
  if (!binding && about.state_count > 0)
    throw Error(code::kArgument, "binding: the program has state");
  CancelToken* cancel = cancelHandle == 0 ? nullptr : &environment.cancels.get(cancelHandle);
  if (inputs.length < about.input_count)
    throw Error(code::kArgument, "inputs: expected " + std::to_string(about.input_count) +
                                     " buffers, got " + std::to_string(inputs.length));
  if (outputs.length < about.output_count)
    throw Error(code::kArgument, "outputs: expected room for " +
                                     std::to_string(about.output_count) + " buffers, got " +
                                     std::to_string(outputs.length));

  BufferList buffers(size_t(about.input_count) + about.output_count);
  Buffer** in = buffers.data();
  const double* numbers = nullptr;
  for (uint32_t i = 0; i < about.input_count; i++) {
    if (inputs.data[i] == 0) {
      numbers = numbersBehind(inputs, program, i);
      in[i] = nullptr;
      continue;
    }
    in[i] = &environment.buffers.get(inputs.data[i]);
    if (&in[i]->device != &program.device)
      throw Error(code::kArgument, "input " + std::to_string(i) + " is on another device");
    if (in[i]->bytes < about.input_bytes[i])
      throw Error(code::kArgument, "input " + std::to_string(i) + " has " +
                                       std::to_string(in[i]->bytes) + " bytes, the program needs " +
                                       std::to_string(about.input_bytes[i]));
    if (in[i]->writers > 0 && binding && binding->writes(*in[i]))
      throw Error(code::kArgument,
                  "input " + std::to_string(i) + " is state that the program writes");
  }
  Buffer** out = in + about.input_count;
  FreshOutputs fresh(environment, outputs.data);
  try {
    for (uint32_t i = 0; i < about.output_count; i++)
      out[i] = fresh.add(program.device, about.output_bytes[i]);
    program.device.claim(program);
  } catch (const Error& error) {
    if (error.code() != code::kOutOfMemory) throw;
    // What the run takes in all, and not only what was refused last, says which limit it takes.
    fresh.remove();
    program.device.throwNoRoom(program);
  }

  submitRun({&program, binding, in, out, numbers, cancel, environment.client.get()});
  fresh.keep();
  return info.Env().Undefined();
}

Napi::Value createCancel(Environment& environment, const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), environment.cancels.add(new CancelToken));
}

Napi::Value cancel(Environment& environment, const Napi::CallbackInfo& info) {
  environment.cancels.get(numberArgument(info, 0, "cancel")).cancelled = true;
  return info.Env().Undefined();
}

Napi::Value releaseCancel(Environment& environment, const Napi::CallbackInfo& info) {
  environment.cancels.remove(numberArgument(info, 0, "cancel"));
  return info.Env().Undefined();
}

}  // namespace

void exportRunCalls(Napi::Object exports, Environment& environment) {
  exportFunction<run>(exports, environment, "run");
  exportFunction<createCancel>(exports, environment, "createCancel");
  exportFunction<cancel>(exports, environment, "cancel");
  exportFunction<releaseCancel>(exports, environment, "releaseCancel");
}

}  // namespace figment
