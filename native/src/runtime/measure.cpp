#include "measure.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <exception>

#include "error.h"

namespace figment {
namespace {

/// Turns of each candidate at most and at least, how long one should take, and when to stop.
constexpr int kTurns = 9, kLeastTurns = 3;
constexpr double kTurnMicros = 1e3, kBudgetMicros = 1.5e6;
constexpr double kMostCalls = 1000;
/// A candidate that takes so many times what the best takes has had its turns.
constexpr double kHopeless = 1.5;

/// Processor time of the calling thread.
double threadMicros() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return double(now.tv_sec) * 1e6 + double(now.tv_nsec) * 1e-3;
}

/// Memory of the device for as long as it lives.
class Block {
 public:
  Block(CpuDevice& device, uint64_t bytes) : device_(device), bytes_(bytes) {
    memory_ = device.allocator().allocate(bytes);
    if (!memory_) throw Error(code::kOutOfMemory, "out of memory: measuring a kernel");
  }
  Block(const Block&) = delete;
  ~Block() { device_.allocator().release(memory_, bytes_); }
  std::byte* data() const { return static_cast<std::byte*>(memory_); }

 private:
  CpuDevice& device_;
  uint64_t bytes_;
  void* memory_;
};

/// Runs kernels as a run does, and adds up what they take.
class MeasuringContext final : public Context {
 public:
  MeasuringContext(int threads, std::byte* scratch) : pool_(threads), scratch_(scratch) {}
  ~MeasuringContext() override { pool_.resize(1); }  // ends its threads

  void parallel(int64_t count, int64_t grain, Body body, void* closure) override {
    spent_ += threadMicros() - since_;
    for (Worker& worker : workers_) worker = {};
    Region region = {*this, body, closure};
    pool_.parallel(count, grain, piece, &region);
    double total = 0, longest = 0, pieces = 0;
    for (const Worker& worker : workers_) {
      total += worker.total;
      longest = std::max(longest, worker.longest);
      pieces += double(worker.pieces);
    }
    const double threads = double(pool_.threads());
    if (pieces > 0) spent_ += std::max(longest, total / pieces * std::ceil(pieces / threads));
    since_ = threadMicros();
  }
  int threads() const override { return pool_.threads(); }
  std::byte* scratch() const override { return scratch_; }
  void fail(const char*, const std::string&) override {
    failed_.store(true, std::memory_order_relaxed);
  }

  /// Microseconds of one call; negative when it failed.
  double time(const RegisteredVariant& variant, const OpCall& call) {
    spent_ = 0;
    since_ = threadMicros();
    try {
      variant.run(call, *this);
    } catch (const std::exception&) {
      fail("", "");
    }
    spent_ += threadMicros() - since_;
    return failed_.exchange(false, std::memory_order_relaxed) ? -1 : spent_;
  }

 private:
  struct alignas(64) Worker {
    double total = 0, longest = 0;
    int64_t pieces = 0;
  };
  struct Region {
    MeasuringContext& context;
    Body body;
    void* closure;
  };
  static void piece(void* closure, int64_t begin, int64_t end, int worker) {
    const auto& region = *static_cast<Region*>(closure);
    const double start = threadMicros();
    region.body(region.closure, begin, end, worker);
    const double micros = threadMicros() - start;
    Worker& mine = region.context.workers_[size_t(worker)];
    mine.total += micros;
    mine.longest = std::max(mine.longest, micros);
    mine.pieces++;
  }

  ThreadPool pool_;
  std::byte* scratch_;
  std::vector<Worker> workers_ = std::vector<Worker>(size_t(pool_.threads()));
  double spent_ = 0, since_ = 0;
  std::atomic<bool> failed_{false};
};

bool isFloat(const Operand& operand) {
  return operand.format == Format::f32 || operand.format == Format::bf16 ||
         operand.format == Format::f16;
}

uint64_t extentBytes(const Operand& operand) {
  int64_t last = 0;
  for (int i = 0; i < operand.rank; i++) last += (operand.dims[i] - 1) * operand.strides[i];
  return uint64_t(last + 1) * formatBytes(operand.format);
}

/// Numbers of either sign from 1/4 to 1, spread by a hash of their places.
void fill(const Operand& operand, uint64_t bytes) {
  const auto hash = [](uint64_t i) { return uint32_t((i * 0x9e3779b97f4a7c15ull) >> 32); };
  if (operand.format == Format::f32) {
    for (uint64_t i = 0; i < bytes / 4; i++)
      operand.as<uint32_t>()[i] = 0x3e800000u | (hash(i) & 0x80ffffffu);
    return;
  }
  const uint16_t quarter = operand.format == Format::bf16 ? 0x3e80 : 0x3400;
  const uint16_t random = operand.format == Format::bf16 ? 0x80ff : 0x87ff;
  for (uint64_t i = 0; i < bytes / 2; i++)
    operand.as<uint16_t>()[i] = uint16_t(quarter | (hash(i) & random));
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + std::ptrdiff_t(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// The candidates of a call in turns.
std::vector<double> takeTurns(const std::vector<const RegisteredVariant*>& candidates,
                              const OpCall& call, MeasuringContext& context) {
  struct Runner {
    double calls = 1, middle = -1;
    std::vector<double> times;
    bool in = true;
  };
  std::vector<Runner> runners(candidates.size());
  double spent = 0;
  for (int turn = -1; turn < kTurns; turn++) {  // the first finds cold caches and does not count
    if (turn >= kLeastTurns && spent > kBudgetMicros) break;
    double best = 0;
    for (size_t i = 0; i < candidates.size(); i++) {
      Runner& runner = runners[i];
      if (!runner.in) continue;
      double sum = 0;
      for (int n = 0; n < int(runner.calls) && runner.in; n++) {
        const double micros = context.time(*candidates[i], call);
        runner.in = micros >= 0;
        sum += micros;
      }
      if (!runner.in) {
        runner.middle = -1;
        continue;
      }
      spent += sum;
      if (turn < 0) {
        runner.calls = std::clamp(kTurnMicros / std::max(sum, 1.0), 1.0, kMostCalls);
        continue;
      }
      runner.times.push_back(sum / double(int(runner.calls)));
      runner.middle = median(runner.times);
      if (best == 0 || runner.middle < best) best = runner.middle;
    }
    if (turn + 1 < kLeastTurns) continue;
    for (Runner& runner : runners) runner.in = runner.in && runner.middle <= kHopeless * best;
  }
  std::vector<double> micros;
  for (const Runner& runner : runners) micros.push_back(runner.middle);
  return micros;
}

}  // namespace

bool measurable(const ProgramRecord& record) {
  const OpCall& call = record.call;
  bool floats = !record.choice.candidates.empty();
  for (int i = 0; i < call.inCount + call.outCount; i++) {
    const Operand& operand = i < call.inCount ? call.in[i] : call.out[i - call.inCount];
    floats = floats && isFloat(operand) && !operand.empty();
  }
  return floats;
}

std::vector<double> measureCandidates(CpuDevice& device, const ProgramRecord& record) {
  const int threads = record.predictedMicros >= kSharedMicros ? device.threads() : 1;
  constexpr uint64_t kAlignment = 256;
  std::vector<Operand> operands(record.call.in, record.call.in + record.call.inCount);
  operands.insert(operands.end(), record.call.out, record.call.out + record.call.outCount);
  uint64_t bytes = 0;
  std::vector<uint64_t> places;
  for (const Operand& operand : operands) {
    places.push_back(bytes);
    bytes += (extentBytes(operand) + kAlignment - 1) / kAlignment * kAlignment;
  }
  const Block memory(device, bytes);
  for (size_t i = 0; i < operands.size(); i++) {
    operands[i].data = memory.data() + places[i];
    fill(operands[i], extentBytes(operands[i]));
  }
  OpCall call = record.call;
  call.in = operands.data();
  call.out = operands.data() + call.inCount;

  uint64_t scratchBytes = 0;
  for (const RegisteredVariant* candidate : record.choice.candidates) {
    if (candidate->scratch)
      scratchBytes = std::max(scratchBytes, uint64_t(candidate->scratch(call, threads)));
  }
  const Block scratch(device, scratchBytes);
  MeasuringContext context(threads, scratch.data());
  return takeTurns(record.choice.candidates, call, context);
}

}  // namespace figment
