#include "gpus.h"

#include <cuda_runtime.h>

#include "runtime/instruction_sets.h"

namespace figment::cuda {
namespace {

struct Found {
  std::vector<Gpu> gpus;
  std::string problem;
};

Isa isaOf(int major, int minor) {
  if (major == 9 && minor == 0) return Isa::sm90a;
  return major >= 8 ? Isa::sm80 : Isa::sm75;
}

Found find() {
  Found found;
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    found.problem = "there is no NVIDIA driver on this machine";
    return found;
  }
  int count = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess) {
    found.problem = std::string("the NVIDIA driver offers no GPU: ") + cudaGetErrorString(status) +
                    " (" + cudaGetErrorName(status) + ", driver for CUDA " +
                    std::to_string(driver / 1000) + "." + std::to_string(driver % 1000 / 10) + ")";
    return found;
  }
  for (int i = 0; i < count; i++) {
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
    if (properties.major * 10 + properties.minor < 75) {
      found.problem = std::string(properties.name) + " has compute capability " +
                      std::to_string(properties.major) + "." + std::to_string(properties.minor) +
                      "; 7.5 is needed";
      continue;
    }
    found.gpus.push_back({i, properties.name, properties.major, properties.minor,
                          properties.multiProcessorCount, properties.totalGlobalMem,
                          uint64_t(properties.l2CacheSize), properties.sharedMemPerBlockOptin,
                          isaOf(properties.major, properties.minor)});
  }
  if (!found.gpus.empty())
    found.problem.clear();
  else if (found.problem.empty())
    found.problem = "the NVIDIA driver lists no GPU";
  return found;
}

const Found& found() {
  static const Found* const result = new Found(find());
  return *result;
}

}  // namespace

const std::vector<Gpu>& gpus() { return found().gpus; }
const std::string& whyNoGpu() { return found().problem; }

}  // namespace figment::cuda

namespace figment {

/// The narrowest of the machine's GPUs: a choice of variants serves all of them.
Isa bestIsa() {
  Isa best = Isa::sm90a;
  for (const cuda::Gpu& gpu : cuda::gpus())
    if (gpu.isa < best) best = gpu.isa;
  return best;
}

bool belongsHere(Isa isa) { return isa >= Isa::sm75; }

const char* isaName(Isa isa) {
  switch (isa) {
    case Isa::sm90a:
      return "sm90a";
    case Isa::sm80:
      return "sm80";
    default:
      return "sm75";
  }
}

bool parseIsa(const std::string& name, Isa& isa) {
  for (const Isa candidate : {Isa::sm75, Isa::sm80, Isa::sm90a}) {
    if (name == isaName(candidate)) {
      isa = candidate;
      return true;
    }
  }
  return false;
}

}  // namespace figment
