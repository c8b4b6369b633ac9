// Checks and times the kernels for Hopper on a real GPU, where there is nothing but nvcc: each
// variant "wgmma" against sums in f64 of the same operands. One line a case; the exit status says
// whether all were right. Each group of cases runs in a process of its own, so that a kernel that
// hangs or faults ends its group alone.
//
//   hopper_check [name…]    the groups whose names begin so; without names, all but the sweeps,
//   which time
//                           every plan of large cases instead
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "hopper_reference.h"
#include "kernels/gemm/wgmma_plan.h"
#include "kernels/params/conv2d.generated.h"
#include "kernels/params/conv2dInputGrad.generated.h"
#include "kernels/params/conv2dWeightGrad.generated.h"
#include "kernels/params/matmul.generated.h"
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
const RegisteredOp* findOp(std::string_view name) {
  static std::vector<std::unique_ptr<RegisteredOp>> found;
  auto op = std::make_unique<RegisteredOp>();
  for (const Variant& v : registered())
    if (name == v.op) op->variants.push_back({v.name, v.isa, v.supports, v.scratch, v.run});
  found.push_back(std::move(op));
  return found.back().get();
}

namespace cuda {
namespace {

constexpr const char* kFormatNames[] = {"f32", "f64", "bf16", "f16"};

struct Buffer {
  void* data = nullptr;
  Buffer(size_t bytes) { check(cudaMalloc(&data, bytes + 256), "cudaMalloc"); }
  ~Buffer() { cudaFree(data); }
  Buffer(const Buffer&) = delete;
};

/// A contiguous operand of random numbers, its memory surrounded by nothing.
struct Tensor {
  Operand operand;
  Buffer buffer;
  Tensor(Format format, std::vector<int64_t> dims, uint32_t seed, float scale, int shift = 0)
      : buffer(size_t(count(dims)) * formatBytes(format)) {
    operand.format = format;
    operand.rank = uint8_t(dims.size());
    int64_t stride = 1;
    for (int i = int(dims.size()) - 1; i >= 0; i--) {
      operand.dims[i] = dims[size_t(i)];
      operand.strides[i] = stride;
      stride *= dims[size_t(i)];
    }
    operand.data = static_cast<char*>(buffer.data) + shift;
    if (seed != 0)
      fillRandom(operand, count(dims), seed, scale);
    else  // a result: not a number anywhere
      check(cudaMemset(buffer.data, 0xff, size_t(count(dims)) * formatBytes(format) + 256), "fill");
  }
  static int64_t count(const std::vector<int64_t>& dims) {
    int64_t n = 1;
    for (int64_t d : dims) n *= d;
    return n;
  }
};

const Variant& variantOf(const char* op, const char* name) {
  for (const Variant& v : registered())
    if (!std::strcmp(v.op, op) && !std::strcmp(v.name, name)) return v;
  std::printf("%s has no variant %s\n", op, name);
  std::exit(1);
}

bool failed = false;

/// A variant with what it runs on.
struct Runner {
  const Variant& variant;
  const OpCall& call;
  cudaStream_t stream = nullptr;
  cudaEvent_t begin = nullptr, end = nullptr;
  std::unique_ptr<Buffer> scratch;
  std::unique_ptr<Launcher> launcher;

  Runner(const Variant& of, const OpCall& with) : variant(of), call(with) {
    int sms = 0, shared = 0;
    check(cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, 0), "attribute");
    check(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), "attribute");
    const size_t bytes = variant.scratch ? variant.scratch(call, 1) : 0;
    scratch = std::make_unique<Buffer>(bytes);
    check(cudaMemset(scratch->data, 0xff, bytes + 256), "fill");
    check(cudaStreamCreate(&stream), "stream");
    check(cudaEventCreate(&begin), "event");
    check(cudaEventCreate(&end), "event");
    launcher = std::make_unique<Launcher>(stream, static_cast<std::byte*>(scratch->data), nullptr,
                                          sms, size_t(shared));
    launcher->setRecord(0, variant.op);
  }
  ~Runner() {
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    cudaStreamDestroy(stream);
  }
  void run() {
    variant.run(call, *launcher);
    check(cudaStreamSynchronize(stream), "the kernel");
  }
  /// Microseconds of a run, the median of replays, as programs have it: recorded once and replayed.
  double timed(int times, int replays) {
    cudaGraph_t graph;
    cudaGraphExec_t recorded;
    check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
    for (int i = 0; i < times; i++) variant.run(call, *launcher);
    check(cudaStreamEndCapture(stream, &graph), "capture");
    check(cudaGraphInstantiate(&recorded, graph, 0), "graph");
    std::vector<double> all;
    for (int i = 0; i < replays; i++) {
      check(cudaEventRecord(begin, stream), "event");
      check(cudaGraphLaunch(recorded, stream), "graph");
      check(cudaEventRecord(end, stream), "event");
      check(cudaEventSynchronize(end), "the kernel, repeated");
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, begin, end), "event");
      all.push_back(double(milliseconds) * 1000 / times);
    }
    check(cudaGraphExecDestroy(recorded), "graph");
    check(cudaGraphDestroy(graph), "graph");
    std::sort(all.begin(), all.end());
    return all[all.size() / 2];
  }
  double timed() { return timed(int(std::clamp(4000.0 / timed(3, 2), 5.0, 100.0)), 5); }
};

/// Instead of the check: which plans are fastest for the call.
bool sweeping = false;

void sweep(const Variant& variant, const OpCall& call, double flops) {
  struct Timed {
    double microseconds;
    wgmma::Plan plan;
  };
  wgmma::forcedPlan = {};
  const double planned = Runner(variant, call).timed();
  std::printf("planned %8.1f us %6.1f TFLOP/s; by columns x splits", planned,
              flops / planned * 1e-6);
  std::vector<Timed> all;
  for (int columns : {64, 128, 160, 256})
    for (int splits : {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 22, 32}) {
      if (columns == 160 && !std::strcmp(variant.op, "conv2dWeightGrad")) continue;
      wgmma::forcedPlan = {.tileColumns = columns, .splits = splits};
      if (variant.scratch(call, 1) > size_t(1) << 29) continue;
      all.push_back({Runner(variant, call).timed(), wgmma::forcedPlan});
    }
  std::sort(all.begin(), all.end(),
            [](const Timed& a, const Timed& b) { return a.microseconds < b.microseconds; });
  for (size_t i = 0; i < 4; i++)
    std::printf("  %dx%d %.1f", all[i].plan.tileColumns, all[i].plan.splits, all[i].microseconds);
  for (const Timed& t : all)
    if (t.plan.splits == 1) std::printf("  [%dx1 %.1f]", t.plan.tileColumns, t.microseconds);
  std::printf("\n");
  std::fflush(stdout);
}

/// Runs the call, compares it with `reference` and times it.
void runCase(const std::string& title, const char* op, const OpCall& call, double flops,
             const Reference& reference) {
  std::printf("%-14s %-64s ", op, title.c_str());
  std::fflush(stdout);
  const Variant& variant = variantOf(op, "wgmma");
  if (variant.supports(call) < 0) {
    std::printf("not supported\n");
    failed = true;
    return;
  }
  if (sweeping) return sweep(variant, call, flops);
  Runner runner(variant, call);
  runner.run();
  const Comparison found = compare(call, reference);
  const double microseconds = runner.timed();
  const Comparison again = compare(call, reference);
  const bool right = found.worst <= 1 && again.worst <= 1 && found.hash == again.hash;
  std::printf("%s error %.1e of the largest, worst %.2f of its bound%s  %9.1f us %7.1f TFLOP/s\n",
              right ? "ok   " : "WRONG", found.relative, std::max(found.worst, again.worst),
              found.hash == again.hash ? "" : ", not the same bits again", microseconds,
              flops / microseconds * 1e-6);
  std::fflush(stdout);
  failed = failed || !right;
}

struct MatmulCase {
  int64_t batch, m, n, k;
  Format factors = Format::bf16, out = Format::bf16;
  bool oneA = false, oneB = false, bias = false;
  int activation = kNoActivation;
  bool scale = false, addend = false;
};

void matmul(bool transA, bool transB, const MatmulCase& c) {
  const int64_t batchA = c.oneA ? 1 : c.batch, batchB = c.oneB ? 1 : c.batch;
  Tensor a(c.factors, {batchA, transA ? c.k : c.m, transA ? c.m : c.k}, 11, 1);
  Tensor b(c.factors, {batchB, transB ? c.n : c.k, transB ? c.k : c.n}, 12, 1);
  Tensor bias(Format::f32, {c.n}, 13, 3), scale(Format::f32, {c.n}, 14, 2);
  Tensor addend(c.out, {c.batch, c.m, c.n}, 15, 3), out(c.out, {c.batch, c.m, c.n}, 0, 0);
  MatmulParams p = {};
  p.batch = c.batch, p.m = c.m, p.n = c.n, p.k = c.k;
  p.batchStrideA = c.oneA || c.batch == 1 ? 0 : c.m * c.k;
  p.batchStrideB = c.oneB || c.batch == 1 ? 0 : c.k * c.n;
  p.transA = transA, p.transB = transB, p.activation = c.activation;
  p.scale = c.scale, p.bias = c.bias, p.addend = c.addend;
  Operand in[5] = {a.operand, b.operand};
  int count = 2;
  if (c.scale) in[count++] = scale.operand;
  if (c.bias) in[count++] = bias.operand;
  if (c.addend) in[count++] = addend.operand;
  const OpCall call = {&p, sizeof p, in, count, &out.operand, 1};
  char title[128];
  std::snprintf(title, sizeof title, "%c%c %ld%s%s x %ld x %ld x %ld %s -> %s%s%s%s%s",
                transA ? 'T' : 'N', transB ? 'T' : 'N', long(c.batch), c.oneA ? " (1a)" : "",
                c.oneB ? " (1b)" : "", long(c.m), long(c.n), long(c.k),
                kFormatNames[int(c.factors)], kFormatNames[int(c.out)], c.scale ? " scale" : "",
                c.bias ? " bias" : "", c.activation ? " act" : "", c.addend ? " addend" : "");
  runCase(title, "matmul", call, 2.0 * double(c.batch) * double(c.m) * double(c.n) * double(c.k),
          matmulReference(p));
}

/// What works in every layout: all dims are multiples of eight.
void matmulGroup(bool transA, bool transB) {
  const auto bf16 = Format::bf16, f16 = Format::f16, f32 = Format::f32;
  std::vector<MatmulCase> cases = {
      {1, 128, 256, 64},
      {1, 128, 64, 64, bf16, f32},
      {1, 64, 8, 8, bf16, f32},
      {1, 8, 8, 8, f16, f16},
      {1, 256, 512, 1024, bf16, f32},
      {1, 136, 72, 200, bf16, f32},
      {1, 1000, 1000, 1000, f16, f16},
      {3, 264, 328, 520, bf16, bf16},
      {3, 264, 328, 520, f16, f32, false, true},
      {3, 264, 328, 520, bf16, bf16, true, false},
      {1, 1024, 320, 320, bf16, bf16, false, false, true, kSilu},
      {1, 512, 160, 4096, bf16, f32, false, false, true, kRelu},
      {2, 2048, 640, 640, f16, bf16, false, true, true},
      {1, 1024, 320, 320, bf16, bf16, false, false, true, kRelu, true},
      {1, 1024, 320, 320, bf16, f32, false, false, true, kNoActivation, true, true},
      {1, 512, 160, 4096, f16, f16, false, false, false, kSilu, true, true},
  };
  for (int64_t n : {512, 1024, 2048, 4096, 8192}) cases.push_back({1, n, n, n});
  for (const MatmulCase& c : cases) matmul(transA, transB, c);
  // Odd sizes where the layout lets them be.
  if (!transA) matmul(transA, transB, {2, 131, 264, 328, bf16, bf16});
  if (transB) matmul(transA, transB, {2, 264, 131, 328, bf16, bf16, false, false, true, kSilu});
  if (transB) matmul(transA, transB, {1, 264, 1031, 2048, f16, f32, false, false, true});
  if (transA) matmul(transA, transB, {1, 264, 328, 1031, bf16, f32});
  if (!transA && !transB) matmul(transA, transB, {1, 4096, 320, 1280});
  if (!transA && transB) matmul(transA, transB, {1, 8192, 1280, 320});
}

void sweepMatmul() {
  for (int64_t n : {512, 1024, 2048, 4096}) matmul(false, false, {1, n, n, n});
  for (int64_t rows : {256, 4096, 65536})
    for (auto [n, k] :
         {std::pair<int64_t, int64_t>{320, 320}, {1280, 320}, {320, 1280}, {640, 640}})
      matmul(false, true, {1, rows, n, k});
}

/// Products of small networks and of few pixels, which fill a part of a GPU.
void littleProducts() {
  for (const MatmulCase& c : std::vector<MatmulCase>{{1, 128, 400, 784},
                                                     {1, 128, 784, 400},
                                                     {1, 128, 40, 400},
                                                     {1, 77, 640, 768},
                                                     {1, 77, 1280, 768},
                                                     {1, 64, 1280, 1280},
                                                     {1, 256, 1280, 1280},
                                                     {1, 1024, 640, 640},
                                                     {1, 1024, 640, 2560},
                                                     {1, 4096, 320, 320},
                                                     {1, 4096, 320, 1280}})
    matmul(false, true, c);
  matmul(true, false, {1, 784, 400, 128, Format::bf16, Format::f32});
}

#include "hopper_convolutions.h"

struct Group {
  const char* name;
  std::function<void()> run;
};

const std::vector<Group> kGroups = {
    {"matmul-nt", [] { matmulGroup(false, true); }},
    {"matmul-nn", [] { matmulGroup(false, false); }},
    {"matmul-tn", [] { matmulGroup(true, false); }},
    {"matmul-little", littleProducts},
    {"conv-1x1", [] { convGroup(Kind::forward, convCases1x1()); }},
    {"conv-plain", [] { convGroup(Kind::forward, convCasesPlain()); }},
    {"conv-odd", [] { convGroup(Kind::forward, convCasesOdd()); }},
    {"conv-large", [] { convGroup(Kind::forward, convCasesLarge()); }},
    {"input-1x1", [] { convGroup(Kind::inputGrad, convCases1x1()); }},
    {"input-plain", [] { convGroup(Kind::inputGrad, convCasesPlain()); }},
    {"input-odd", [] { convGroup(Kind::inputGrad, convCasesOdd()); }},
    {"input-large", [] { convGroup(Kind::inputGrad, convCasesLarge()); }},
    {"weight-1x1", [] { convGroup(Kind::weightGrad, convCases1x1()); }},
    {"weight-plain", [] { convGroup(Kind::weightGrad, convCasesPlain()); }},
    {"weight-odd", [] { convGroup(Kind::weightGrad, convCasesOdd()); }},
    {"weight-large", [] { convGroup(Kind::weightGrad, convCasesLarge()); }},
    {"sweep-matmul", [] { sweepMatmul(); }},
    {"sweep-little", littleProducts},
    {"sweep-conv", [] { convGroup(Kind::forward, convCasesLarge()); }},
    {"sweep-input", [] { convGroup(Kind::inputGrad, convCasesLarge()); }},
    {"sweep-weight", [] { convGroup(Kind::weightGrad, convCasesLarge()); }},
};

int runGroup(const Group& group) {
  alarm(100);
  try {
    check(cudaSetDevice(0), "cudaSetDevice");
    sweeping = !std::strncmp(group.name, "sweep", 5);
    group.run();
  } catch (const std::exception& error) {
    std::printf("FAILED: %s\n", error.what());
    failed = true;
  }
  std::fflush(stdout);
  return failed ? 1 : 0;
}

}  // namespace
}  // namespace cuda
}  // namespace figment

int main(int count, char** names) {
  using namespace figment::cuda;
  int wrong = 0;
  for (const Group& group : kGroups) {
    bool wanted = count < 2 && std::strncmp(group.name, "sweep", 5) != 0;
    for (int i = 1; i < count; i++)
      wanted = wanted || !std::strncmp(group.name, names[i], std::strlen(names[i]));
    if (!wanted) continue;
    std::printf("-- %s\n", group.name);
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) _exit(runGroup(group));
    int status = 0;
    waitpid(child, &status, 0);
    const bool right = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!right) {
      std::printf("-- %s: %s\n", group.name, WIFSIGNALED(status) ? "ended by a signal" : "WRONG");
      std::fflush(stdout);
      wrong++;
    }
  }
  std::printf(wrong ? "%d groups are wrong\n" : "all right\n", wrong);
  return wrong ? 1 : 0;
}
