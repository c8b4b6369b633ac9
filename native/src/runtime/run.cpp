// Failure semantics: a run whose input or state does not exist is skipped and passes the failure
// on; one that fails or is aborted before its commit leaves state as it was and only loses its
// outputs. Being aborted was asked for, so it is not remembered as news.
#include "run.h"

#include "error.h"

namespace figment {
namespace {

Ref<Failure> dependency(const RunRequest& request) {
  for (uint32_t i = 0; i < request.program->info.input_count; i++) {
    if (request.inputs[i] && request.inputs[i]->failure) return request.inputs[i]->failure;
  }
  return request.binding ? request.binding->failure() : nullptr;
}

void markOutputs(const RunRequest& request, const Ref<Failure>& failure) {
  request.program->device.failures++;
  for (uint32_t i = 0; i < request.program->info.output_count; i++)
    request.outputs[i]->failure = failure;
}

void markWrittenState(const RunRequest& request, const Ref<Failure>& failure) {
  request.program->device.failures++;
  for (uint32_t s = 0; s < request.program->info.state_count; s++) {
    if (request.program->info.state_written[s]) request.binding->states[s]->failure = failure;
  }
}

int shouldStop(void* context) {
  const auto& request = *static_cast<const RunRequest*>(context);
  return request.client->closing() ||
         (request.cancel && request.cancel->cancelled.load(std::memory_order_relaxed));
}

/// Under the execution lock.
void execute(const RunRequest& request) {
  if (const Ref<Failure> failure = dependency(request)) return markOutputs(request, failure);

  LoadedProgram& program = *request.program;
  Device& device = program.device;
  device.inputPointers.clear();
  device.outputPointers.clear();
  device.hostInputs.clear();
  for (uint32_t i = 0; i < program.info.input_count; i++) {
    device.hostInputs.push_back(request.inputs[i] ? 0 : 1);
    device.inputPointers.push_back(request.inputs[i] ? request.inputs[i]->memory
                                                     : const_cast<double*>(&request.numbers[i]));
  }
  for (uint32_t i = 0; i < program.info.output_count; i++)
    device.outputPointers.push_back(request.outputs[i]->memory);

  FigmentRun run = {};
  run.size = sizeof(run);
  run.flags = program.info.predicted_micros < kInlineMicros ? FIGMENT_RUN_SERIAL : 0;
  run.inputs = device.inputPointers.data();
  run.outputs = device.outputPointers.data();
  run.states = request.binding ? request.binding->pointers() : nullptr;
  run.poll = shouldStop;
  run.poll_context = const_cast<RunRequest*>(&request);
  run.host_inputs = device.hostInputs.data();
  const FigmentStatus status = device.api.run(device.handle, program.handle, &run);
  if (status == FIGMENT_OK) return;
  if (status == FIGMENT_ABORTED)
    return markOutputs(request, new Failure(code::kAborted, "the run was aborted"));
  const FigmentError* error = device.api.last_error();
  const Ref<Failure> failure = new Failure(error->code, error->message);
  markOutputs(request, failure);
  if (status == FIGMENT_FAILED_COMMIT) markWrittenState(request, failure);
  request.client->remember(failure);
}

class RunJob final : public Job {
 public:
  RunJob(const RunRequest& request, uint64_t outputBytes)
      : Job(request.client, outputBytes),
        program_(request.program),
        binding_(request.binding),
        cancel_(request.cancel) {
    const FigmentProgramInfo& info = request.program->info;
    buffers_.reserve(size_t(info.input_count) + info.output_count);
    if (request.numbers) numbers_.assign(request.numbers, request.numbers + info.input_count);
    for (uint32_t i = 0; i < info.input_count; i++) keep(request.inputs[i]);
    for (uint32_t i = 0; i < info.output_count; i++) keep(request.outputs[i]);
  }
  ~RunJob() override {
    for (Buffer* buffer : buffers_) {
      if (buffer) buffer->release();
    }
  }

  void execute() noexcept override {
    for (size_t i = program_->info.input_count; i < buffers_.size(); i++)
      buffers_[i]->renewMemory();
    figment::execute({program_.get(), binding_.get(), buffers_.data(),
                      buffers_.data() + program_->info.input_count, numbers_.data(), cancel_.get(),
                      &client()});
  }

 private:
  void keep(Buffer* buffer) {
    if (buffer) buffer->retain();
    buffers_.push_back(buffer);
  }

  Ref<LoadedProgram> program_;
  Ref<Binding> binding_;
  Ref<CancelToken> cancel_;
  std::vector<Buffer*> buffers_;  // inputs, null where one is a number, then outputs; each retained
  std::vector<double> numbers_;
};

}  // namespace

void submitRun(const RunRequest& request) {
  const FigmentProgramInfo& info = request.program->info;
  Queue& queue = request.program->device.queue;
  if (info.predicted_micros < kInlineMicros && queue.idle()) {
    std::unique_lock lock(queue.executionLock(), std::try_to_lock);
    if (lock.owns_lock() && queue.idle()) return execute(request);
  }

  uint64_t outputBytes = 0;
  for (uint32_t i = 0; i < info.output_count; i++) outputBytes += request.outputs[i]->bytes;
  const uint64_t ticket = queue.submit(new RunJob(request, outputBytes));
  for (uint32_t i = 0; i < info.input_count; i++) {
    if (request.inputs[i]) request.inputs[i]->lastTicket = ticket;
  }
  for (uint32_t i = 0; i < info.output_count; i++) request.outputs[i]->lastTicket = ticket;
  if (request.binding) request.binding->lastTicket = ticket;
}

}  // namespace figment
