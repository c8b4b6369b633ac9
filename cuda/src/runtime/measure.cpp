// How long each candidate of a record takes on this GPU: on fresh memory of random numbers, by
// events, the best of several rounds in turn.
#include <algorithm>
#include <limits>

#include "check.h"
#include "gpu_device.h"

namespace figment::cuda {
namespace {

constexpr int kRounds = 7;

uint64_t bytesOf(const Operand& operand) {
  int64_t last = 0;
  for (int i = 0; i < operand.rank; i++) last += (operand.dims[i] - 1) * operand.strides[i];
  return operand.empty() ? 0 : uint64_t(last + 1) * formatBytes(operand.format);
}

}  // namespace

std::vector<double> GpuDevice::measure(const ProgramRecord& record) {
  select();
  const auto& candidates = record.choice.candidates;
  std::vector<double> best(candidates.size(), -1);
  std::vector<Operand> operands(record.call.in, record.call.in + record.operandCount);
  std::vector<uint64_t> sizes;
  cudaEvent_t begin = nullptr, end = nullptr;
  const auto free = [&] {
    for (size_t i = 0; i < sizes.size(); i++) release(operands[i].data, sizes[i]);
    if (begin) cudaEventDestroy(begin);
    if (end) cudaEventDestroy(end);
  };
  try {
    check(cudaEventCreate(&begin), "creating an event");
    check(cudaEventCreate(&end), "creating an event");
    for (Operand& operand : operands) {
      operand.data = allocate(bytesOf(operand));
      if (!operand.data) throw std::bad_alloc();
      sizes.push_back(bytesOf(operand));
      // Bytes of about one half in every float format; small integers.
      check(cudaMemsetAsync(operand.data, 0x38, size_t(sizes.back()), stream_), "filling memory");
    }
    OpCall call = record.call;
    call.in = operands.data();
    call.out = operands.data() + call.inCount;
    size_t scratch = 0;
    for (const RegisteredVariant* candidate : candidates)
      if (candidate->scratch) scratch = std::max(scratch, candidate->scratch(call, 1));
    if (!reserve(scratch_, scratch)) throw std::bad_alloc();
    Launcher launcher(stream_, scratch_.data, failure_, gpu_.multiprocessors, gpu_.sharedPerBlock);
    launcher.setRecord(0, record.opName());
    launcher.setArrivals(arrivals_);
    std::vector<bool> failed(candidates.size(), false);
    for (int round = 0; round <= kRounds; round++) {
      for (size_t c = 0; c < candidates.size(); c++) {
        if (failed[c]) continue;
        check(cudaEventRecord(begin, stream_), "recording an event");
        try {
          candidates[c]->run(call, launcher);
        } catch (const Error&) {  // this GPU refuses its launch
          failed[c] = true;
          best[c] = -1;
          continue;
        }
        check(cudaEventRecord(end, stream_), "recording an event");
        check(cudaEventSynchronize(end), "waiting for an event");
        float milliseconds = 0;
        check(cudaEventElapsedTime(&milliseconds, begin, end), "reading an event");
        const double micros = 1e3 * double(milliseconds);
        if (round > 0 && (best[c] < 0 || micros < best[c])) best[c] = micros;  // the first warms up
      }
    }
  } catch (...) {
    free();
    throw;
  }
  resetFailure();
  free();
  return best;
}

}  // namespace figment::cuda
