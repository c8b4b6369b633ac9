// Checks and times the kernels of attention on a real GPU, where there is nothing but nvcc: each
// variant against "plain" on the same operands, or where that takes seconds against "flash", with
// results in f32. One line a case; the exit status says whether all were right.
//
//   attention_check [name…]    the variants of these names; without names, all
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "device/number.h"
#include "kernels/kernel.h"
#include "kernels/params/attention.generated.h"
#include "kernels/params/attentionGrad.generated.h"
#include "kernels/registry.h"
#include "runtime/check.h"
#include "runtime/launcher.h"

namespace figment {
namespace {

std::vector<Variant>& registered() {
  static std::vector<Variant> all;
  return all;
}

}  // namespace

// The registry as far as the kernels need it.
RegisterVariant::RegisterVariant(const Variant& variant) { registered().push_back(variant); }
const RegisteredOp* findOp(std::string_view) { return nullptr; }

namespace cuda {
namespace {

/// A contiguous operand; of random numbers, or of NaN where results will be.
struct Tensor {
  Operand operand;
  int64_t count = 1;

  Tensor(Format format, std::vector<int64_t> dims, uint32_t seed) {
    operand.format = format;
    operand.rank = uint8_t(dims.size());
    for (int i = int(dims.size()) - 1; i >= 0; i--) {
      operand.dims[i] = dims[size_t(i)];
      operand.strides[i] = count;
      count *= dims[size_t(i)];
    }
    const size_t bytes = size_t(count) * formatBytes(format);
    check(cudaMalloc(&operand.data, bytes), "cudaMalloc");
    check(cudaMemset(operand.data, 0xff, bytes), "cudaMemset");
    if (seed == 0) return;
    std::vector<uint16_t> halves(static_cast<size_t>(count));
    for (auto& half : halves) {
      seed = seed * 1664525u + 1013904223u;
      const float x = float(int32_t(seed)) * (2.0f / 2147483648.0f);
      half = format == Format::bf16 ? narrowBf16(toBits(x)) : narrowF16(toBits(x));
    }
    check(cudaMemcpy(operand.data, halves.data(), bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  ~Tensor() { cudaFree(operand.data); }
  Tensor(const Tensor&) = delete;

  std::vector<float> read() const {
    std::vector<float> values(static_cast<size_t>(count));
    check(cudaMemcpy(values.data(), operand.data, values.size() * 4, cudaMemcpyDeviceToHost),
          "cudaMemcpy");
    return values;
  }
};

/// Runs a variant so often and answers the microseconds of one run.
double runs(const Variant& variant, const OpCall& call, int times) {
  int sms = 0, shared = 0;
  check(cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, 0), "attribute");
  check(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), "attribute");
  void* scratch = nullptr;
  check(cudaMalloc(&scratch, (variant.scratch ? variant.scratch(call, 1) : 0) + 256), "cudaMalloc");
  cudaStream_t stream;
  cudaEvent_t begin, end;
  check(cudaStreamCreate(&stream), "stream");
  check(cudaEventCreate(&begin), "event");
  check(cudaEventCreate(&end), "event");
  Launcher launcher(stream, static_cast<std::byte*>(scratch), nullptr, sms, size_t(shared));
  launcher.setRecord(0, variant.name);
  check(cudaEventRecord(begin, stream), "event");
  for (int i = 0; i < times; i++) variant.run(call, launcher);
  check(cudaEventRecord(end, stream), "event");
  check(cudaStreamSynchronize(stream), variant.name);
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, begin, end), "event");
  cudaStreamDestroy(stream);
  cudaFree(scratch);
  return double(milliseconds) * 1000 / times;
}

bool failed = false;
std::vector<std::string> wanted;

struct Case {
  int b, h, sq, sk, d, causal;
  Format format = Format::bf16;
  std::vector<int32_t> lengths = {};
};

/// Beyond so many operations plain takes seconds.
constexpr double kLong = 1e12;
const char* referenceFor(double flops) { return flops > kLong ? "flash" : "plain"; }
void runReference(const char* op, const OpCall& call, double flops) {
  for (const Variant& variant : registered())
    if (!std::strcmp(variant.op, op) && !std::strcmp(variant.name, referenceFor(flops)))
      runs(variant, call, 1);
}

/// Every variant of an op that runs the call, against its reference.
void compare(const char* op, const std::string& title, const OpCall& call,
             const std::vector<const Tensor*>& results, double flops) {
  runReference(op, call, flops);
  std::vector<std::vector<float>> expected;
  for (const Tensor* result : results) expected.push_back(result->read());
  for (const Variant& variant : registered()) {
    if (std::strcmp(variant.op, op) || !std::strcmp(variant.name, "plain") ||
        !std::strcmp(variant.name, referenceFor(flops)))
      continue;
    if (variant.supports(call) < 0) continue;
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), variant.name) == wanted.end())
      continue;
    std::printf("%-13s %-15s %-46s ", op, variant.name, title.c_str());
    std::fflush(stdout);
    for (const Tensor* result : results)
      check(cudaMemset(result->operand.data, 0xff, size_t(result->count) * 4), "cudaMemset");
    const double once = runs(variant, call, 1);
    double worst = 0;
    for (size_t i = 0; i < results.size(); i++) {
      const std::vector<float> found = results[i]->read();
      double largest = 0, error = 0;
      for (size_t e = 0; e < found.size(); e++) {
        const double want = expected[i][e], difference = std::fabs(found[e] - want);
        if (found[e] == expected[i][e]) continue;
        if (std::isfinite(want)) largest = std::max(largest, std::fabs(want));
        error = difference <= error ? error : difference;  // a NaN stays
      }
      const double relative = error == 0 ? 0 : error / largest;
      worst = relative <= worst ? worst : relative;
    }
    const bool right = worst <= 2e-2;
    const double microseconds = runs(variant, call, int(std::clamp(2e4 / once, 3.0, 100.0)));
    std::printf("%s error %.1e of the largest  %9.1f us %7.1f TFLOP/s\n", right ? "ok   " : "WRONG",
                worst, microseconds, flops / microseconds * 1e-6);
    std::fflush(stdout);
    failed = failed || !right;
  }
}

void run(const Case& c, bool gradient) {
  const Format f = c.format;
  Tensor q(f, {c.b, c.sq, c.h, c.d}, 11), k(f, {c.b, c.sk, c.h, c.d}, 12);
  Tensor v(f, {c.b, c.sk, c.h, c.d}, 13), dout(f, {c.b, c.sq, c.h, c.d}, 14);
  Tensor out(Format::f32, {c.b, c.sq, c.h, c.d}, 0), lse(Format::f32, {c.b, c.h, c.sq}, 0);
  Tensor lengths(Format::i32, {c.b}, 0);
  const bool ragged = !c.lengths.empty();
  if (ragged)
    check(
        cudaMemcpy(lengths.operand.data, c.lengths.data(), size_t(c.b) * 4, cudaMemcpyHostToDevice),
        "cudaMemcpy");
  char title[96];
  std::snprintf(title, sizeof title, "b%d h%d sq%d sk%d d%d%s%s %s", c.b, c.h, c.sq, c.sk, c.d,
                c.causal ? " causal" : "", ragged ? " lengths" : "",
                f == Format::bf16 ? "bf16" : "f16");
  const double pairs = double(c.b) * c.h * c.sq * c.sk * (c.causal ? 0.5 : 1);
  const double scale = 1 / std::sqrt(double(c.d));
  AttentionParams p = {c.b, c.h, c.sq, c.sk, c.d, c.causal, scale};
  const Operand in[4] = {q.operand, k.operand, v.operand, lengths.operand};
  const Operand results[2] = {out.operand, lse.operand};
  const OpCall call = {&p, sizeof p, in, ragged ? 4 : 3, results, 2};
  const double flops = pairs * 4 * c.d;
  compare("attention", title, call, {&out, &lse}, flops);
  if (!gradient) return;

  runReference("attention", call, flops);
  Tensor dq(Format::f32, {c.b, c.sq, c.h, c.d}, 0), dk(Format::f32, {c.b, c.sk, c.h, c.d}, 0);
  Tensor dv(Format::f32, {c.b, c.sk, c.h, c.d}, 0);
  AttentionGradParams g = {c.b, c.h, c.sq, c.sk, c.d, c.causal, scale};
  const Operand given[7] = {q.operand,   k.operand,    v.operand,      out.operand,
                            lse.operand, dout.operand, lengths.operand};
  const Operand gradients[3] = {dq.operand, dk.operand, dv.operand};
  const OpCall backward = {&g, sizeof g, given, ragged ? 7 : 6, gradients, 3};
  compare("attentionGrad", title, backward, {&dq, &dk, &dv}, pairs * 10 * c.d);
}

}  // namespace
}  // namespace cuda
}  // namespace figment

int main(int count, char** names) {
  using namespace figment;
  cuda::wanted.assign(names + 1, names + count);
  try {
    for (const cuda::Case& c :
         std::vector<cuda::Case>{{1, 2, 64, 77, 40, 0},
                                 {2, 3, 131, 257, 64, 1},
                                 {1, 2, 200, 333, 80, 0, Format::f16},
                                 {2, 2, 129, 300, 128, 1, Format::f16},
                                 {1, 3, 65, 190, 160, 0},
                                 {4, 2, 100, 200, 64, 0, Format::bf16, {0, 1, 130, 200}},
                                 {3, 2, 150, 260, 128, 1, Format::bf16, {100, 260, 129}},
                                 {1, 2, 700, 810, 96, 1},
                                 {2, 2, 620, 580, 40, 0, Format::f16, {580, 129}},
                                 {1, 8, 1, 4000, 64, 0},
                                 {1, 8, 4096, 4096, 40, 0},
                                 {2, 8, 4096, 77, 40, 0},
                                 {2, 8, 1024, 1024, 64, 0},
                                 {16, 4, 256, 256, 32, 0},
                                 {4, 16, 4096, 4096, 64, 0},
                                 {4, 16, 4096, 4096, 64, 1},
                                 {2, 16, 4096, 4096, 128, 0},
                                 {2, 16, 4096, 4096, 128, 1},
                                 {2, 8, 1024, 1024, 80, 0},
                                 {2, 8, 256, 256, 160, 0},
                                 {128, 1, 256, 256, 256, 0},
                                 {128, 1, 16, 16, 256, 0},
                                 {16, 1, 1024, 1024, 192, 0, Format::f16},
                                 {3, 2, 150, 260, 232, 1},
                                 {2, 5, 70, 333, 200, 0, Format::f16},
                                 {2, 3, 65, 190, 256, 1, Format::bf16, {100, 190}},
                                 {3, 1, 4096, 4096, 320, 0},
                                 {1, 1, 6000, 6000, 264, 1},
                                 // Those of the benchmarks.
                                 {4, 16, 8192, 8192, 64, 0},
                                 {16, 8, 1024, 1024, 64, 0},
                                 {4, 8, 4096, 4096, 40, 0},
                                 {16, 8, 1024, 1024, 80, 0},
                                 {128, 4, 256, 256, 32, 0}})
      cuda::run(c, true);
  } catch (const std::exception& error) {
    std::printf("FAILED: %s\n", error.what());
    cuda::failed = true;
  }
  std::printf(cuda::failed ? "not all right\n" : "all right\n");
  return cuda::failed ? 1 : 0;
}
