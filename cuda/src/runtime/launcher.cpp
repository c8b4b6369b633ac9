#include "launcher.h"

#include "check.h"

namespace figment::cuda {
namespace {

cudaStream_t streamOf(const Launcher& launcher) {
  return static_cast<cudaStream_t>(launcher.stream());
}

}  // namespace

void Launcher::checkGrid(int64_t x, int64_t y, int64_t z) const {
  if (x > 0x7fffffff || y > 65535 || z > 65535)
    throw Error(code::kDevice, std::string(recordName_) + ": a grid of " + std::to_string(x) +
                                   " × " + std::to_string(y) + " × " + std::to_string(z) +
                                   " blocks; at most 2147483647 × 65535 × 65535");
}

void Launcher::checkLaunch() const { check(cudaGetLastError(), recordName_); }

void Launcher::allowShared(const void* kernel, size_t bytes) const {
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)),
        recordName_);
}

void Launcher::copy(void* to, const void* from, size_t bytes) const {
  if (bytes > 0)
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, streamOf(*this)), recordName_);
}

void Launcher::fill(void* to, int byte, size_t bytes) const {
  if (bytes > 0) check(cudaMemsetAsync(to, byte, bytes, streamOf(*this)), recordName_);
}

void Launcher::parallel(int64_t, int64_t, Body, void*) {
  throw Error(code::kDevice, std::string(recordName_) + ": a kernel of the CPU was chosen");
}

void Launcher::fail(const char* code, const std::string& message) { throw Error(code, message); }

}  // namespace figment::cuda
