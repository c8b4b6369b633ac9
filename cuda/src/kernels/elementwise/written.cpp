// Elementwise calls by kernels written for their register code. Only where there is a driver to
// load them: on the emulator the same text is tried as C++ (cuda/test/elementwise).
#ifndef FIGMENT_EMULATED

#include <cuda_runtime.h>

#include "../../device/platform.h"
#include "../../runtime/check.h"
#include "../../runtime/launcher.h"
#include "interpreter.h"
#include "loaded.h"

namespace figment::cuda::elementwise {
namespace {

constexpr int kPreference = 20;
constexpr int kFewestThreads = 64;

bool hasBf16() {
  int device = 0, major = 0;
  check(cudaGetDevice(&device), "asking for the device");
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
        "asking for the device's capability");
  return major >= 8;
}

void run(const OpCall& call, Context& context) {
  if (call.out[0].empty()) return;
  Launcher& launcher = launcherOf(context);
  const auto stream = static_cast<cudaStream_t>(launcher.stream());
  const auto space = figment::elementwise::mergeDimensions(call);
  const int64_t busyThreads = int64_t(launcher.multiprocessors()) * 2048;
  const Shape shape = shapeOf(call, space, codeOf(call), busyThreads, hasBf16());
  // Loading allocates memory, which a recording does not permit. Programs run once before they are
  // recorded, so that their kernels are there by then.
  cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream, &capturing), "asking for a recording");
  const void* kernel = loadedKernel(shape, capturing == cudaStreamCaptureStatusNone);
  if (!kernel) return interpret(call, shape.code, launcher);

  const Rows rows = rowsOf(space, shape.perGroup);
  std::vector<Operand> operands(call.in, call.in + call.inCount);
  operands.insert(operands.end(), call.out, call.out + call.outCount);
  std::vector<Strides> strides;
  for (size_t i = 0; i < operands.size(); i++) strides.push_back(stridesOf(space, int(i)));
  Arguments arguments = argumentsOf(shape, rows, operands, strides, true);

  int threads = kPtxThreads;
  const auto blocks = [&] { return ceilDiv(rows.groups, int64_t(threads) * shape.groups); };
  while (threads > kFewestThreads && blocks() < launcher.multiprocessors()) threads /= 2;
  launcher.checkGrid(blocks(), 1, 1);
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(unsigned(blocks()));
  config.blockDim = dim3(unsigned(threads));
  config.stream = stream;
  void* parameters[] = {&arguments};
  check(cudaLaunchKernelExC(&config, kernel, parameters), launcher.recordName());
}

const RegisterVariant registrar{
    {.op = "elementwise",
     .name = "ptx",
     .isa = Isa::sm75,
     .supports =
         [](const OpCall& call) { return isPrintable(call, codeOf(call)) ? kPreference : -1; },
     .scratch = nullptr,
     .run = run}};

}  // namespace
}  // namespace figment::cuda::elementwise

#endif
